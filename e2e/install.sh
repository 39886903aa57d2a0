#!/bin/sh
# Installs what the tests need: three browser engines, a desktop that nobody sees (Xvfb, dbus and the
# notification daemon dunst), Node.js, the pinned npm packages, and the web servers nginx and Caddy. The servers are unpacked into tools/bin/servers, not installed: no
# service starts, and nothing outside this directory changes.
#
# As root, or where sudo needs no password, missing Debian packages are installed with
# apt-get. Otherwise it says exactly what is missing and how to get it, and fails.
# Nothing is skipped in silence: KMS_ENGINES=chromium,firefox narrows the engines explicitly.
#
# Environment: KMS_ENGINES, CI (an engine left out by KMS_ENGINES is then an error),
# KMS_CHROMIUM, KMS_FIREFOX, KMS_MINIBROWSER (paths of other builds of the engines).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
engines=${KMS_ENGINES:-chromium,firefox,webkit}
node_wanted=20

say() { printf 'install: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

wants() { case ",$engines," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }

minibrowser() {
  [ -n "${KMS_MINIBROWSER:-}" ] && [ -x "$KMS_MINIBROWSER" ] && return 0
  for dir in /usr/lib/*/webkit2gtk-4.* /usr/lib/webkit2gtk-4.* /usr/libexec/webkit2gtk-4.* /usr/lib64/webkit2gtk-4.*; do
    [ -x "$dir/MiniBrowser" ] && return 0
  done
  return 1
}

node_ok() { has node && has npm && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$node_wanted" ]; }

missing_packages() {
  if wants chromium && [ -z "${KMS_CHROMIUM:-}" ] && ! has chromium && ! has chromium-browser && ! has google-chrome; then echo chromium; fi
  if wants firefox && [ -z "${KMS_FIREFOX:-}" ] && ! has firefox-esr && ! has firefox; then echo firefox-esr; fi
  if wants webkit; then
    if ! has WebKitWebDriver || ! minibrowser; then echo webkit2gtk-driver; fi
  fi
  has Xvfb || echo xvfb
  if ! has dbus-run-session || ! has dbus-daemon || ! has dbus-send; then echo dbus; fi
  if wants chromium || wants firefox; then
    has dunst || echo dunst # starts where a session asks for it, and nowhere else; brings libnotify, which Firefox needs
    has busctl || echo systemd # only for this program
  fi
  has openssl || echo openssl
  has curl || echo curl
  has xxd || echo xxd
  has jq || echo jq
  has node || echo nodejs
  has npm || echo npm
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then echo env; elif has sudo && sudo -n true 2>/dev/null; then echo sudo; fi
}

install_packages() {
  prefix=$(as_root)
  if [ -z "$prefix" ] || ! has apt-get; then
    say "missing: $*"
    say "hint: on Debian or Ubuntu run: sudo apt-get install $*"
    say "hint: elsewhere install Chromium, Firefox, WebKitGTK's MiniBrowser and WebKitWebDriver, Xvfb, dbus, dunst, OpenSSL and Node.js $node_wanted or newer"
    say "hint: to test fewer engines, say so: KMS_ENGINES=chromium,firefox make test"
    exit 1
  fi
  say "apt-get install $*"
  $prefix env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null >&2
  # shellcheck disable=SC2086,SC2048
  $prefix env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $* </dev/null >&2
}

for engine in $(printf '%s' "$engines" | tr ',' ' '); do
  case $engine in
    chromium | firefox | webkit) ;;
    *) say "KMS_ENGINES: got $engine, wanted chromium, firefox or webkit"; exit 1 ;;
  esac
done
if [ -n "${CI:-}" ]; then
  for engine in chromium firefox webkit; do
    wants $engine || { say "KMS_ENGINES leaves out $engine, and with CI set every engine is tested"; exit 1; }
  done
fi

packages=$(missing_packages | tr '\n' ' ')
# shellcheck disable=SC2086
[ -z "$packages" ] || install_packages $packages
packages=$(missing_packages | tr '\n' ' ')
[ -z "$packages" ] || { say "still missing after apt-get: $packages"; exit 1; }
if ! node_ok; then
  say "node: got $(node --version), wanted v$node_wanted or newer (selenium-webdriver needs it)"
  say "hint: https://nodejs.org/en/download, or a package source for your distribution that has it"
  exit 1
fi

# unpack PACKAGE PROGRAM: makes a Debian package's program available without installing it.
servers=$here/../tools/bin/servers
unpack() {
  has "$2" && return 0
  [ -x "$servers/usr/sbin/$2" ] || [ -x "$servers/usr/bin/$2" ] && return 0
  if ! has apt-get || ! has dpkg-deb; then
    say "missing: $2"
    say "hint: install $2, without starting its service; the tests run it on loopback with their own configuration"
    exit 1
  fi
  say "unpacking the package $1"
  mkdir -p "$servers"
  download=$(mktemp -d)
  # Where package lists are missing, they are fetched once.
  (cd "$download" && { apt-get download -q "$1" </dev/null >&2 || { $(as_root) apt-get update -q </dev/null >&2 && apt-get download -q "$1" </dev/null >&2; }; })
  dpkg-deb -x "$download"/*.deb "$servers"
  rm -rf "$download"
  [ -x "$servers/usr/sbin/$2" ] || [ -x "$servers/usr/bin/$2" ] || { say "the package $1 has no program $2"; exit 1; }
}
unpack nginx nginx
unpack caddy caddy

# npm ci runs again only when the lock changed since it last succeeded.
cd "$here"
stamp=node_modules/.installed
if ! [ -f "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  say "npm ci"
  PUPPETEER_SKIP_DOWNLOAD=1 npm ci --no-audit --no-fund --ignore-scripts </dev/null >&2
  cp package-lock.json "$stamp"
fi
[ "$engines" = chromium,firefox,webkit ] || say "engines narrowed by KMS_ENGINES: $engines"
