#!/usr/bin/env bash
# Installs what Clout needs into the repository: `setup.sh python` the environment .venv, `setup.sh kafka` the
# jars .kafka/lib, `setup.sh pages` the gateway's web pages. Where Python 3.11+, Java 17+, Maven, Node 18+ with npm,
# (`setup.sh monitoring`) Prometheus and Alertmanager or (`setup.sh browser`) Chromium are missing it installs them
# with apt-get if it may, and otherwise says what to install. Running it again is harmless.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { # error, hint
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

apt_install() { # packages; false where that is not possible
  local as_root=()
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  echo "Installing with apt-get: $*"
  "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

python_found() { # prints the first Python that serves
  local name
  for name in python3 python3.13 python3.12 python3.11 python3.14; do
    if "$name" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

java_serves() {
  local java=java version
  [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
  version=$("$java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n 1) || return 1
  [ -n "$version" ] && [ "$version" -ge 17 ]
}

need_python() {
  python_found >/dev/null || apt_install python3 python3-venv || true
  python_found >/dev/null || apt_install python3.11 python3.11-venv || true
  python_found || fail "no Python of version 3.11 to 3.14 with its venv module was found" \
    "install one, for instance with: apt-get install python3 python3-venv"
}

need_java() {
  java_serves || apt_install openjdk-17-jre-headless || apt_install default-jre-headless || true
  java_serves || fail "no Java of version 17 or later was found in JAVA_HOME or on the path" \
    "install one, for instance with: apt-get install openjdk-17-jre-headless"
}

need_maven() {
  command -v mvn >/dev/null || apt_install maven || true
  command -v mvn >/dev/null || fail "Maven (mvn) was not found" "install it, for instance with: apt-get install maven"
}

node_serves() {
  local version
  version=$(node --version 2>/dev/null) || return 1
  version=${version#v}
  [ "${version%%.*}" -ge 18 ] && command -v npm >/dev/null
}

need_node() {
  node_serves || apt_install nodejs npm || true
  node_serves || fail "no Node.js of version 18 or later with npm was found" \
    "install both, for instance with: apt-get install --no-install-recommends nodejs npm"
}

need_browser() {
  command -v chromium >/dev/null || apt_install chromium || true
  command -v chromium >/dev/null || fail "Chromium was not found: the tests look at the web pages in it" \
    "install it, for instance with: apt-get install --no-install-recommends chromium"
}

monitoring_found() {
  command -v promtool >/dev/null && command -v amtool >/dev/null && command -v prometheus >/dev/null &&
    { command -v prometheus-alertmanager >/dev/null || command -v alertmanager >/dev/null; }
}

# Debian's packages start what they bring as services, on the default ports. For the time of the installation a
# policy-rc.d forbids that (one that is there already is left to decide), and then they are kept from starting with
# the machine: `clout up --monitoring` runs its own.
install_monitoring() {
  local done=0 service
  policy=/usr/sbin/policy-rc.d own="" as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  if [ ! -e "$policy" ] && printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null 2>&1; then
    own=yes
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    "${as_root[@]}" chmod 755 "$policy"
  fi
  apt_install prometheus prometheus-alertmanager || done=$?
  [ -z "$own" ] || { "${as_root[@]}" rm -f "$policy" && trap - EXIT; }
  [ "$done" -eq 0 ] || return 1
  echo "Their services stay off: prometheus, prometheus-alertmanager"
  for service in prometheus prometheus-alertmanager; do
    ! command -v update-rc.d >/dev/null || "${as_root[@]}" update-rc.d "$service" disable >/dev/null 2>&1 || true
  done
}

need_monitoring() {
  monitoring_found || install_monitoring || true
  monitoring_found || fail "Prometheus (prometheus, promtool) or Alertmanager (amtool) was not found" \
    "install them, for instance with: apt-get install --no-install-recommends prometheus prometheus-alertmanager"
}

setup_python() {
  # An environment whose interpreter has gone, or that was moved here from elsewhere, is made anew.
  if ! .venv/bin/pip --version >/dev/null 2>&1; then
    local python
    python=$(need_python | tail -n 1)
    echo "Making the Python environment .venv with $python"
    "$python" -m venv --clear .venv
  fi
  echo "Installing the locked dependencies"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
}

setup_kafka() {
  need_java
  need_maven
  echo "Fetching Apache Kafka's jars with Maven"
  rm -rf .kafka/lib
  # Maven switches colours off at its end even where it has none.
  mvn --quiet --batch-mode --strict-checksums --file deploy/kafka/pom.xml dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$PWD/.kafka/lib" 2>&1 | sed $'s/\x1b\\[[0-9;]*m//g' ||
    fail "Maven could not fetch Apache Kafka's jars" "see Maven's message above; when the network is back, run make setup"
}

setup_pages() {
  need_node
  echo "Bundling the web pages"
  # Nothing that comes from npm runs while it is installed.
  npm --prefix gateway/web ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null ||
    fail "npm could not fetch what the web pages are made of" "see npm's message above; when the network is back, run make setup"
  npm --prefix gateway/web run --silent build
}

case "${1:-}" in
  python) setup_python ;;
  kafka) setup_kafka ;;
  pages) setup_pages ;;
  browser) need_browser ;;
  monitoring) need_monitoring ;;
  *) fail "setup.sh takes one argument: python, kafka, pages, browser or monitoring" "run make setup" ;;
esac
