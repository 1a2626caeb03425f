from __future__ import annotations

from dataclasses import replace

from django_deploy.provision import caddy, nginx
from django_deploy.provision.down_page import DOWN_PAGE
from django_deploy.target import Certificate

from .sites import DEBIAN, SENT, SERVED

FILES = Certificate("/home/emma/shop.pem", "/home/emma/shop.key")


def test_nginx_with_a_certificate():
    site = replace(SERVED, web="nginx", tls=FILES, sent=SENT)

    text = nginx.site_configuration(site, DEBIAN)

    assert (
        text.partition("return 503 '")[0]
        == r"""# Written by manage.py deploy_setup staging, which replaces it when the settings change.
# To keep a file of your own here, remove these two lines: then it is left alone.

upstream site_shop_example_com {
    server unix:/srv/shop/run/web.sock fail_timeout=0;
}
map $http_upgrade $connection_of_shop_example_com {
    default upgrade;
    ''      close;
}
map $uri $caching_of_shop_example_com {
    default "public, max-age=60";
    "~\.[0-9a-f]{12}\.[^/]+$" "public, max-age=31536000, immutable";
}

server {
    listen 80;
    listen [::]:80;
    server_name shop.example.com;
    location /.well-known/acme-challenge/ {
        root /var/www/html;
    }
    location / {
        return 301 https://$host$request_uri;
    }
}

server {
    listen 443 ssl http2;
    listen [::]:443 ssl http2;
    ssl_certificate /etc/nginx/tls/shop.example.com.pem;
    ssl_certificate_key /etc/nginx/tls/shop.example.com.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:SSL:10m;
    server_name shop.example.com;
    client_max_body_size 20m;

    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_of_shop_example_com;

    location /static/ {
        alias /srv/shop/current/static/;
        add_header Cache-Control $caching_of_shop_example_com;
        gzip_static on;
        add_header X-Content-Type-Options nosniff;
        log_not_found off;
        error_page 403 404 = @site;
    }
    location /media/ {
        alias /srv/shop/shared/media/;
        add_header Cache-Control "max-age=3600";
        add_header X-Content-Type-Options nosniff;
        log_not_found off;
        error_page 403 404 = @site;
    }
    location / {
        proxy_pass http://site_shop_example_com;
    }
    location @site {
        proxy_pass http://site_shop_example_com;
    }

    # No process of the site answers.
    recursive_error_pages on;
    error_page 502 504 = @down;
    location @down {
        default_type text/html;
        charset utf-8;
        add_header Retry-After 60 always;
        add_header Cache-Control no-store always;
        """
    )


def test_nginx_without_a_certificate():
    text = nginx.site_configuration(replace(SERVED, web="nginx"), replace(DEBIAN, has_ipv6=False))

    assert text.count("server {") == 1
    assert "    listen 80;\n    server_name shop.example.com;\n" in text
    assert "    location /.well-known/acme-challenge/ {\n        root /var/www/html;\n    }\n" in text


def test_the_key_is_for_root_only():
    piece = nginx.nginx_piece(replace(SERVED, web="nginx", tls=FILES, sent=SENT), DEBIAN)

    key, mark = "/etc/nginx/tls/shop.example.com.key", "'# Written by manage.py deploy_setup staging.'"
    assert f'put 600 root {key} {mark} <"$DEPLOY_FILES/certificate.key" || give_up ' in piece.act
    assert f"""[ "$(sed 1d {key} | sha256sum)" = '{"2" * 64}  -' ] &&\n""" in piece.check


def test_folders_that_the_server_has_to_enter():
    for site, folders in (
        (SERVED, "/srv/shop/run /srv/shop/releases /srv/shop/shared/media"),
        (replace(SERVED, static=None, media=None), "/srv/shop/run"),
    ):
        piece = nginx.nginx_piece(replace(site, web="nginx"), DEBIAN)

        assert f"for folder in {folders}; do\n    as www-data test -x" in piece.act
        assert all(f"as www-data test -x {folder} &&\n" in piece.check for folder in folders.split())


def test_several_sockets():
    site = replace(SERVED, sockets=("/srv/shop/run/web.sock", "/srv/shop/run/web.2.sock"))

    assert "    server unix:/srv/shop/run/web.2.sock fail_timeout=0;\n" in nginx.site_configuration(
        site, DEBIAN
    )
    assert (
        "    reverse_proxy unix//srv/shop/run/web.sock unix//srv/shop/run/web.2.sock {\n"
        in caddy.site_configuration(site)
    )


def test_large_uploads():
    site = replace(SERVED, max_body_mb=200)

    assert "    client_max_body_size 200m;\n" in nginx.site_configuration(site, DEBIAN)
    assert "        max_size 200MB\n" in caddy.site_configuration(site)


def test_a_site_that_serves_its_files_itself():
    site = replace(SERVED, static=None, media=None)

    assert "alias" not in nginx.site_configuration(site, DEBIAN)
    assert "file_server" not in caddy.site_configuration(site)


def test_caddy():
    text = caddy.site_configuration(replace(SERVED, web="caddy", media=None))

    assert (
        text.partition("respond `")[0]
        == r"""# Written by manage.py deploy_setup staging, which replaces it when the settings change.
# To keep a file of your own here, remove these two lines: then it is left alone.

(site_shop_example_com) {
    reverse_proxy unix//srv/shop/run/web.sock {
        transport http {
            keepalive off
        }
    }
}

shop.example.com {
    request_body {
        max_size 20MB
    }
    handle_path /static/* {
        root * /srv/shop/current/static
        @there file
        handle @there {
            @hashed path_regexp `\.[0-9a-f]{12}\.[^/]+$`
            header @hashed Cache-Control "public, max-age=31536000, immutable"
            @plain {
                not path_regexp `\.[0-9a-f]{12}\.[^/]+$`
            }
            header @plain Cache-Control "public, max-age=60"
            header X-Content-Type-Options nosniff
            file_server {
                precompressed br gzip
            }
        }
        handle {
            rewrite * /static{uri}
            import site_shop_example_com
        }
    }
    handle {
        import site_shop_example_com
    }

    # No process of the site answers.
    handle_errors {
        @down expression `{http.error.status_code} in [502, 503, 504]`
        handle @down {
            header Content-Type `text/html; charset=utf-8`
            header Retry-After 60
            header Cache-Control no-store
            """
    )


def test_where_caddy_gets_its_certificate():
    for tls, line in (
        ("internal", "    tls internal\n"),
        (FILES, "    tls /etc/caddy/tls/shop.example.com.pem /etc/caddy/tls/shop.example.com.key\n"),
        (Certificate("host:/a.pem", "host:/a.key"), "    tls /a.pem /a.key\n"),
    ):
        assert f"\nshop.example.com {{\n{line}" in caddy.site_configuration(replace(SERVED, tls=tls))


def test_the_page_of_a_site_that_is_down_breaks_out_of_no_quotes():
    assert not {"'", "`", "$", "\n", "\\"} & {*DOWN_PAGE}
