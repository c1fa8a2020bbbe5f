# To be sourced. The command lines that the documentation shows.

# docs_commands SOURCE_DIR PROGRAM...: a line "FILE:LINE<tab>PROGRAM ARGUMENTS..." for each command line of a program,
# with or without a folder before its name, in a code block, a code span of its own or a line of a script. Lines that
# end in a backslash are joined.
docs_commands() {
  local root=$1
  (cd "$root" && awk -v programs="${*:2}" '
    function emit(text,   i, words) {
      sub(/^[ \t]+/, "", text)
      while (text ~ /^[A-Z_]+=[^ ]* /) sub(/^[^ ]+ +/, "", text)  # LORA_ISA=avx2 lora ...
      split(text, words, /[ \t]+/)
      sub(/^.*\//, "", words[1])
      if (words[1] in is_program) {
        sub(/^[^ \t]+/, words[1], text)
        printf "%s:%d\t%s\n", FILENAME, at, text
      }
    }
    function emit_all(text,   parts, i, n) {
      n = split(text, parts, / *(&&|;|\|) +/)
      for (i = 1; i <= n; ++i) emit(parts[i])
    }
    BEGIN { n = split(programs, list, " "); for (i = 1; i <= n; ++i) is_program[list[i]] = 1 }
    FNR == 1 { in_block = FILENAME ~ /\.sh$/; joined = "" }
    /^ *```/ { in_block = !in_block; next }
    in_block {
      if (joined == "") at = FNR
      joined = joined $0
      if (sub(/\\$/, "", joined)) next
      gsub(/"\$lora"/, "lora", joined)
      emit_all(joined)
      joined = ""
      next
    }
    {
      at = FNR
      n = split($0, spans, /`/)
      for (i = 2; i < n; i += 2) emit(spans[i])
    }' README.md CONTRIBUTING.md docs/*.md examples/*.sh)
}
