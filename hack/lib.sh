# SPDX-License-Identifier: Apache-2.0
# Sourced by hack/setup and hack/test: packages, the Go toolchain, subordinate ids.

export CGO_ENABLED=1
GOFLAGS=$(sed -n 's/^GOFLAGS=//p' hack/go.env)
export GOFLAGS

say()  { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# as_root runs a command as root: directly, or through sudo.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; return; fi
  command -v sudo >/dev/null 2>&1 || fail "this step needs root: run as root, or install sudo and allow $(id -un) to use it"
  sudo "$@"
}

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

# need_packages installs what is missing and asks apt nothing otherwise.
need_packages() {
  local missing=() p
  for p in "$@"; do installed "$p" || missing+=("$p"); done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null 2>&1 || fail "no apt-get here; install these by hand and run again: ${missing[*]}"
  say "installing ${missing[*]}"
  apt_update_once
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null
}

# want_packages is for what Proa can do without.
want_packages() {
  local p
  for p in "$@"; do
    installed "$p" || (need_packages "$p") || printf 'note: cannot install %s; going on without it\n' "$p"
  done
}

apt_updated=
apt_update_once() {
  [ -n "$apt_updated" ] && return
  as_root apt-get update -q </dev/null || printf 'note: apt-get update failed; using the lists that are here\n'
  apt_updated=1
}

# go_minor prints the minor version of a go program (1.26.8 -> 26), 0 for none.
go_minor() {
  local v
  v=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || { echo 0; return; }
  v=${v#go1.}; echo "${v%%[!0-9]*}"
}

# find_go puts a Go >= 1.21 first in PATH: from there on Go fetches the very
# version that go.mod asks for by itself.
find_go() {
  local dir
  for dir in "" /usr/local/go/bin /usr/lib/go/bin /usr/lib/go-1.2[1-9]/bin /usr/lib/go-1.[3-9][0-9]/bin; do
    if [ "$(go_minor "${dir:+$dir/}go")" -ge 21 ]; then
      [ -z "$dir" ] || export PATH="$dir:$PATH"
      return 0
    fi
  done
  return 1
}

# need_go finds or installs a Go toolchain.
need_go() {
  find_go && { go_fetches; return; }
  local name
  apt_update_once
  name=$(newest_golang)
  [ -n "$name" ] || { add_backports; name=$(newest_golang); }
  [ -n "$name" ] || fail "no Go >= 1.21 in this machine's package lists; install one from go.dev and put it in PATH"
  need_packages "$name-go"
  find_go || fail "$name-go is installed, but no Go >= 1.21 was found"
  go_fetches
}

# newest_golang names the newest golang-1.N that apt offers, from 1.21 on.
newest_golang() {
  apt-cache search --names-only '^golang-1\.[0-9]+-go$' | sed -E 's/^(golang-1\.([0-9]+))-go .*/\2 \1/' |
    awk '$1 >= 21' | sort -n | tail -n 1 | cut -d' ' -f2
}

# add_backports adds Debian's backports of this release, beside the archive
# that the machine already uses.
add_backports() {
  local code uri key
  code=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  uri=$(debian_mirror)
  [ -n "$code" ] && [ -n "$uri" ] || return 0
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  say "adding $code-backports for a newer Go"
  echo "deb [signed-by=$key] $uri $code-backports main" | as_root tee /etc/apt/sources.list.d/proa-backports.list >/dev/null
  apt_updated=; apt_update_once
}

# debian_mirror prints the URI of the Debian archive that apt uses, "" without one.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT) $(RELEASE)' 2>/dev/null |
    awk '$2 == "Debian" && $3 == "main" && $4 !~ /-/ { print $1; exit }'
}

# go_fetches lets an older Go get the toolchain that go.mod names; a machine
# where that is switched off and the version is too old would fail obscurely.
go_fetches() {
  local want have
  want=$(awk '$1 == "go" { print $2; exit }' go.mod)
  have=$(GOTOOLCHAIN=local go env GOVERSION); have=${have#go}
  if [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" != "$want" ]; then
    [ "$(go env GOTOOLCHAIN)" != local ] || export GOTOOLCHAIN=auto
  fi
}

# need_subids gives user $1 65536 subordinate user and group ids.
need_subids() {
  local f
  for f in /etc/subuid /etc/subgid; do
    grep -q "^$1:" "$f" 2>/dev/null && continue
    as_root sh -c ': >>"$1"' sh "$f"
    echo "$1:$(next_subid):65536" | as_root tee -a "$f" >/dev/null
    echo "$f: gave $1 a range"
  done
}

# next_subid is the first id after every range that either file hands out.
next_subid() {
  cat /etc/subuid /etc/subgid 2>/dev/null |
    awk -F: 'BEGIN { n = 100000 } NF == 3 && $2 + $3 > n { n = $2 + $3 } END { print n }'
}

# open_devices gives everybody /dev/net/tun and /dev/fuse, as Debian's udev does:
# a machine without udev may keep them to root, and slirp4netns and
# fuse-overlayfs then do not work for users.
open_devices() {
  local dev
  for dev in /dev/net/tun /dev/fuse; do
    [ ! -c "$dev" ] || [ "$(stat -c %a "$dev")" = 666 ] || as_root chmod 0666 "$dev"
  done
}
