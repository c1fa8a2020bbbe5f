# To be sourced. llama.cpp as users have it: prebuilt, in the npm package node-llama-cpp.
skip() { echo "skipped: $1"; exit 77; }

install_llama_cpp() {  # WORK_DIR; package.json and node_modules come to lie there
  local here platform version
  here=$(dirname "${BASH_SOURCE[0]}")
  command -v npm >/dev/null || skip "npm is not installed"
  (($(node --version | tr -d v | cut -d. -f1) >= 20)) || skip "node-llama-cpp wants node 20 or later"
  case $(uname -m) in
    x86_64) platform=linux-x64 ;;
    aarch64) platform=linux-arm64 ;;
    *) skip "node-llama-cpp has no prebuilt llama.cpp for this machine" ;;
  esac
  mkdir -p "$1"
  cp "$here/package.json" "$1"
  # Only this platform's binary, without those for graphics cards; no scripts, hence no building.
  version=$(sed -n 's/.*"node-llama-cpp": "\(.*\)".*/\1/p' "$1/package.json")
  [[ -d $1/node_modules/@node-llama-cpp/$platform ]] || (
    cd "$1"
    npm install --omit=optional --ignore-scripts --no-save --no-audit --no-fund "@node-llama-cpp/$platform@$version"
  ) || skip "npm could not fetch node-llama-cpp"
}
