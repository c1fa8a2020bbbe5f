# files.sh, to be sourced: what measurements of training share.
#
#   make_files BUILD FOLDER LAYERS SHAPE   FOLDER/model.gguf, random weights in Q8_0 unless it is there; FOLDER/text.txt
#   median FILE                            of a number in each line; the lower one of two

make_files() {
  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  [[ -e $2/model.gguf ]] || "$1/bench/random_model" "$2/model.gguf" "$3" "$4" q8_0 "$root/models/tiny-q8_0.gguf"
  local i
  for ((i = 0; i < 20000; ++i)); do
    echo "The ship $i sails on the wide blue sea, $((i * 7919 % 1000)) miles from the shore."
  done > "$2/text.txt"
}

median() { sort -n "$1" | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'; }
