#!/usr/bin/env bash
# Writes train.txt and heldout.txt into the folder given (default: this script's own): pages of a whaler's log, in the
# wording of instruction data. A page has three facts (weather, sight, writer), each with its own sentence in the
# response. The pairs of weather and sight in heldout.txt never occur together in train.txt, so a model that does well
# there has learned to compose a page, not to remember one.
set -euo pipefail
folder=${1:-$(dirname "$0")}

# name in the instruction | sentence of the response
weathers=(
  "fog|Thick fog all day, and the bell was rung every hour."
  "rain|Rain from morning to night, and no man was dry."
  "snow|Snow fell on the deck, and the boys made a snow man."
  "a storm|A great storm came down on us, and we took in all sail."
  "no wind|Not a breath of wind, and the ship lay still like a house."
  "a fair wind|A fair wind from the west, and the ship ran like a horse."
  "great heat|The sun was like a fire, and the men slept under the boats."
  "hard frost|Hard frost in the night, and the ropes were white as bread."
  "a heavy sea|A heavy sea, and all the plates were broken."
  "a bright moon|A bright moon in the night, and we could read by it."
)
sights=(
  "a whale|We saw a whale, and it looked at us with one small eye."
  "an island|We saw an island, and there were goats on the hills."
  "a white bird|We saw a white bird, and it sat down on the mast."
  "a strange ship|We saw a strange ship, but no one answered us."
  "a mountain of ice|We saw a mountain of ice, and it was blue inside."
  "an old boat|We saw an old boat, and there was a cat in it."
  "a shark|We saw a shark, and no man would go into the water."
  "a light|We saw a light, far away, and it went out."
  "the coast|We saw the coast, and every man thought of home."
  "a bottle|We saw a bottle, and in it was a letter to the king."
  "a great fish|We saw a great fish, and it was longer than the ship."
  "a drum|We saw a drum in the water, and the boy beat it all night."
)
writers=(
  "captain|The captain says we shall be rich men in the spring."
  "cook|The cook gave out the last of the apples."
  "mate|The mate counted the men, and found one too many."
  "doctor|The doctor had nothing to do, and was glad."
  "boy|The boy wrote to his mother, and hid the letter."
)
# WRITER, WEATHER and SIGHT are replaced.
instructions=(
  "Write the log of the WRITER. Weather: WEATHER. Sight: SIGHT."
  "Keep the log for the WRITER. There was WEATHER, and we saw SIGHT."
  "You are the WRITER of the ship. Write of this day: WEATHER, SIGHT."
)

# Draws below N from a linear congruential generator (Numerical Recipes' constants), so that every shell agrees.
state=2026
draw() {
  state=$(((state * 1664525 + 1013904223) % 4294967296))
  drawn=$(((state >> 16) % $1))
}

pages_train=() pages_heldout=()
for s in "${!sights[@]}"; do
  for w in "${!weathers[@]}"; do
    for writer in "${writers[@]}"; do
      draw ${#instructions[@]}
      page=${instructions[drawn]}
      page=${page//WRITER/${writer%%|*}}
      page=${page//WEATHER/${weathers[w]%%|*}}
      page=${page//SIGHT/${sights[s]%%|*}}
      page=$'### Instruction:\n'$page$'\n\n### Response:\n'
      page+="${weathers[w]#*|} ${sights[s]#*|} ${writer#*|} So ends this day."
      if ((w == (3 * s + 1) % ${#weathers[@]})); then
        pages_heldout+=("$page")
      else
        pages_train+=("$page")
      fi
    done
  done
done

# Fisher and Yates, so that neighbours in the files have nothing in common.
shuffle() {
  local -n list=$1
  local i swap
  for ((i = ${#list[@]} - 1; i > 0; i--)); do
    draw $((i + 1))
    swap=${list[i]} list[i]=${list[drawn]} list[drawn]=$swap
  done
}
shuffle pages_train
shuffle pages_heldout

printf '<s>%s\n' "${pages_train[@]}" >"$folder/train.txt"
printf '%s\n\n' "${pages_heldout[@]}" >"$folder/heldout.txt"
