// Books of which few are left stand out.
for (const stock of document.querySelectorAll("[data-stock]")) {
  stock.classList.toggle("scarce", Number(stock.dataset.stock) < 5);
}
