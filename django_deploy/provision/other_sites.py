"""Which other files have the web server serve the domain already, or the site by another domain."""

from __future__ import annotations

from pathlib import PurePosixPath

from django_deploy.provision.site import MARK, Site
from django_deploy.target import CADDY, NGINX

#: Of ``nginx -T``: the files with a server of that name on a port of the web; without ``listen`` it is on 80.
_NGINX = r"""
function end_server() {
    if (named && (!listens || is_web)) print "other=" file
    server = named = listens = is_web = 0
}
/^# configuration file / { end_server(); depth = 0; file = substr($0, 22, length($0) - 22); next }
{
    sub(/#.*/, ""); gsub(/[{};]/, " & "); gsub(/["\047]/, "")
    for (i = 1; i <= NF; i++) {
        word = tolower($i)
        if (word == "{") { depth++; if (directive == "server") server = depth; directive = "" }
        else if (word == "}") { if (depth == server) end_server(); depth--; directive = "" }
        else if (word == ";") directive = ""
        else if (directive == "") { directive = word; is_first = 1 }
        else if (server && directive == "server_name") named = named || word == domain || word == "." domain
        else if (server && directive == "listen" && is_first) {
            listens = 1; is_first = 0
            if (word ~ /(^|:)(80|443)$/ || word !~ /^unix:|^[0-9]+$|:[0-9]+$/) is_web = 1
        }
    }
}
END { end_server() }
"""

#: Of a file that Caddy reads: whether a site's address there is the domain, by either scheme.
_CADDY = r"""
{
    sub(/(^|[ \t])#.*/, "")
    for (i = 1; i <= NF && depth == 0; i++) {
        address = tolower($i)
        sub(/,$/, "", address); sub(/^https?:\/\//, "", address); sub(/\/.*/, "", address)
        if (address == domain || address == domain ":80" || address == domain ":443") is_here = 1
    }
    if ($NF == "{") depth++
    if ($1 == "}") depth--
}
END { if (is_here) print "other=" FILENAME }
"""

#: A file and those that it imports, however deep, as Caddy finds them.
_READ_BY_CADDY = """\
read_by_caddy() {
    echo "$1"
    [ "$2" = 0 ] || (cd "$(dirname "$1")" && for file in $(awk '$1 == "import" { print $2 }' "$1"); do
        [ ! -f "$file" ] || read_by_caddy "$(realpath -s "$file")" $(($2 - 1))
    done)
}
"""


def asking_for_others(site: Site, ours: PurePosixPath) -> str:
    """Shell that says ``other=FILE`` of those with the domain; ``ours`` is the file of the site.

    That is one of them if it is another site's of ours: of another ROOT. Of a file of ours with this ROOT and
    another domain it says ``former=FILE``.
    """
    domain = f"domain={site.domain.lower()}"
    by_mark = f"""\
is_marked() {{ grep -qs '^{MARK}' "$1"; }}
is_here() {{ grep -q 'unix[:/]{site.root}/run/' "$1"; }}
! is_marked {ours} || is_here {ours} || echo other={ours}
for file in /etc/nginx/sites-enabled/* /etc/caddy/sites/*.caddy; do
    [ "$(readlink -f "$file")" = "$(readlink -f {ours})" ] ||
        ! is_marked "$file" || ! is_here "$file" || echo "former=$file"
done"""
    if site.web == NGINX:
        return f"""\
nginx -T 2>/dev/null | awk -v {domain} '{_NGINX}' | sort -u | while IFS= read -r line; do
    [ "$(readlink -f "${{line#*=}}")" = "$(readlink -f {ours})" ] || echo "$line"
done
{by_mark}
"""
    if site.web == CADDY:
        return f"""\
{_READ_BY_CADDY}
[ ! -f /etc/caddy/Caddyfile ] || read_by_caddy /etc/caddy/Caddyfile 9 | sort -u | while IFS= read -r file; do
    [ "$file" = {ours} ] || awk -v {domain} '{_CADDY}' "$file"
done
{by_mark}
"""
    return ""
