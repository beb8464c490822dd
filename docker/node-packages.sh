#!/bin/sh
# Installs the npm packages of the folder named, exactly as its lock file says.
set -eu
cd "$1"
echo "npm packages of $1"
npm ci --no-audit --no-fund --no-progress --loglevel=error
