#!/usr/bin/env bash
# What `make test-browser` needs beside Python: Chromium, and axe-core in .browser/ (which git ignores).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

found() { command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable; }

if ! found > /dev/null; then
    SUDO=""
    [ "$(id -u)" = 0 ] || SUDO="sudo -n"
    if ! command -v apt-get > /dev/null || ! { $SUDO apt-get update -qq && $SUDO apt-get install -qq -y chromium > /dev/null; }; then
        echo "Tests of pages need Chromium: install it by your system's packages, such as apt-get install chromium." >&2
        exit 1
    fi
fi

if [ ! -f .browser/node_modules/axe-core/axe.min.js ]; then
    if ! command -v npm > /dev/null; then
        echo "axe-core is left out, and the tests with it: it is installed by npm, which is missing." >&2
        exit 0
    fi
    mkdir -p .browser
    npm install --silent --no-audit --no-fund --no-save --prefix .browser axe-core@4.10.3 > /dev/null
fi
