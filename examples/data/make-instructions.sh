#!/usr/bin/env bash
# Writes instructions.jsonl into the folder given (default: this script's own): Alpaca records about the animals of a
# farm. Every fact of an animal stands in several records and every time in other words, so that part of what is
# held out can be known from the rest, and part has to be made up.
set -euo pipefail
folder=${1:-$(dirname "$0")}

# name | its young | where it sleeps | what it eats | what it says | what it is good for | what it is afraid of
animals=(
  "cow|calf|in the stall|grass and clover|moo|gives us milk|the stream"
  "sheep|lamb|in the fold|short grass|baa|gives us wool|the old dog"
  "goat|kid|on the roof of the shed|leaves, and washing from the line|meh|gives us cheese|nothing at all"
  "hen|chick|on the high perch|corn and small worms|cluck|lays an egg each day|the fox"
  "goose|gosling|beside the pond|grass and wet bread|honk|wakes us when a thief comes|the cook"
  "horse|foal|in the stable|oats and hay|neigh|pulls the cart to town|paper in the wind"
  "pig|piglet|in clean straw|apples, peelings and soup|oink|finds what we have lost|the butcher"
  "dog|pup|before the door|bones and what we leave|woof|keeps the sheep together|thunder"
  "cat|kitten|behind the stove|mice, and cream on Sunday|meow|keeps the barn free of mice|the goose"
  "donkey|foal|under the oak|thistles and carrots|hee-haw|carries the sacks to the mill|the bridge"
  "duck|duckling|among the reeds|snails and weed|quack|eats the snails in the garden|the pike"
  "bee|grub|in the hive|the dust of flowers|buzz|makes honey from the lime tree|smoke"
  "owl|owlet|in the church tower|mice and beetles|hoo|hunts when we are asleep|the noon sun"
  "mouse|pinkie|in the wall|crumbs and candles|squeak|leaves nothing on the floor|the cat"
)
places=("in the orchard" "on the hill" "by the mill" "at the market" "in the snow" "near the well")
# name in the instruction | first sentence of the answer | last one
moods=(
  "sad|Nobody had come to the gate all day.|Then it lay down and looked at the moon."
  "merry|It was the first warm day of the year.|Then it ran home faster than the wind."
  "short|It was noon.|That was all."
  "strange|The shadows fell toward the sun.|Then there were two of it."
)

# Draws below N from a linear congruential generator (Numerical Recipes' constants), so that every shell agrees.
state=1830
draw() {
  state=$(((state * 1664525 + 1013904223) % 4294967296))
  drawn=$(((state >> 16) % $1))
}

records=()
# record INSTRUCTION INPUT OUTPUT; no text here has anything that JSON escapes but line feeds.
record() {
  local text="{\"instruction\": \"$1\", \"input\": \"$2\", \"output\": \"$3\"}"
  records+=("${text//$'\n'/\\n}")
}
a() { [[ $1 == [aeiou]* ]] && article="an $1" || article="a $1"; }
capital() { capital=${1^}; }
# fields INDEX PREFIX: the animal's facts as variables.
fields() {
  IFS='|' read -r "${2}name" "${2}young" "${2}bed" "${2}food" "${2}voice" "${2}use" "${2}fear" <<<"${animals[$1]}"
}

for i in "${!animals[@]}"; do
  fields "$i" ""
  fields $(((i + 5) % ${#animals[@]})) other_
  a "$name" && one=$article
  a "$young" && one_young=$article
  capital "$name" && Name=$capital
  record "Where does the $name sleep?" "" "The $name sleeps $bed."
  record "What does $one eat?" "" "It eats $food."
  record "Which animal says \`$voice\`?" "" "The $name says \`$voice\`."
  record "What do we call the young of $one?" "" "It is called $one_young."
  record "Why do we keep $one?" "" "Because it $use."
  record "Say what the $name is afraid of, in one sentence." "" "The $name is afraid of $fear."
  record "Who am I?" "I sleep $bed, and I eat $food." "You are the $name."
  record "Guess the animal." "It is afraid of $fear, and it $use." "It is the $name."
  record "Write a note for the boy who minds the $name." "" \
    "Give it $food. See that it sleeps $bed. Keep it away from $fear."
  record "Tell a child about the $name in three sentences." "" \
    "The $name says \`$voice\`. It sleeps $bed. Its young is called $one_young."
  record "Is this true?" "The $name sleeps $other_bed." "No. The $name sleeps $bed; it is the $other_name that sleeps $other_bed."
  record "Is this true?" "The $name is afraid of $fear." "Yes. The $name is afraid of $fear."
  record "Put the words in order." "$bed sleeps $name the" "The $name sleeps $bed."
  record "Make a list of what the $name needs." "" "- a place to sleep: $bed
- to eat: $food
- peace from: $fear"
  record "Write what the two say to each other." "the $name and the $other_name" \
    "${Name}: I sleep $bed. And you?
${other_name^}: I sleep $other_bed.
${Name}: Are you afraid of $fear?
${other_name^}: No. But I am afraid of $other_fear."
  for mood in "${moods[@]}"; do
    IFS='|' read -r how first last <<<"$mood"
    draw ${#places[@]} && place=${places[drawn]}
    draw 2
    if ((drawn)); then middle="The $name stood $place and thought of $food."; else middle="The $name met $fear $place and said \`$voice\`."; fi
    record "Write a $how tale." "$one, $place" "$first $middle $last"
  done
  for other in 1 3 6; do
    fields $(((i + other) % ${#animals[@]})) other_
    record "Compare the $name and the $other_name." "" "The $name eats $food, but the $other_name eats $other_food. The $name $use, and the $other_name $other_use."
  done
done

# Fisher and Yates, so that neighbours have nothing in common.
for ((i = ${#records[@]} - 1; i > 0; i--)); do
  draw $((i + 1))
  swap=${records[i]} records[i]=${records[drawn]} records[drawn]=$swap
done
printf '%s\n' "${records[@]}" >"$folder/instructions.jsonl"
