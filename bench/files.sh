# files.sh, to be sourced: what measurements of training share.
#
#   make_files BUILD FOLDER LAYERS SHAPE   FOLDER/model.gguf, random weights in Q8_0 unless it is there; FOLDER/text.txt
#   group LIMIT_MB NAME                    a new control group with so much memory (root): prints its folder
#   forget FILE                            what programs have left of it in memory
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

group() {
  local version=/sys/fs/cgroup/memory name=memory.limit_in_bytes
  [[ -d $version ]] || version=/sys/fs/cgroup name=memory.max
  mkdir "$version/$2"
  echo $(($1 * 1000000)) > "$version/$2/$name"
  echo "$version/$2"
}

forget() { dd if="$1" iflag=nocache count=0 status=none; }

median() { sort -n "$1" | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'; }
