# An agent that bears witness: it notes when each run began and ended, and cries out when its session
# has another run that is still alive. Notes go to the folder named by WITNESS, one line each.

read -r question
field() { printf '%s' "$question" | sed "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/"; }
session=$(field session_id) message=$(field message_id) text=$(field message)
lock="$WITNESS/running-$session"

alive() { [ -e "/proc/$1" ] && ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null; }

if ! ln -s $$ "$lock" 2>/dev/null; then
  other=$(readlink "$lock")
  if [ -n "$other" ] && alive "$other"; then
    echo "$session $message $other $$" >> "$WITNESS/overlaps"
  fi
  ln -sfn $$ "$lock"
fi
echo "began $message $$ $(date +%s%N)" >> "$WITNESS/runs"

# Between nothing and 40 ms of work, by the message's number, in the middle of the reply.
printf 're: %.3s' "$text"
sleep "0.0$((message * 7 % 5))"
echo "${text#???}"
printf '%s' "$text" > "$POSTERN_REPLY_FILES/asked.txt"

echo "ended $message $$ $(date +%s%N)" >> "$WITNESS/runs"
rm -f "$lock"
