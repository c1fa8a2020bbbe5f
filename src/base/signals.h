// Ctrl-C and its relatives, as a flag that long work looks at between steps.
#pragma once

namespace lora {

// From here on SIGINT, SIGTERM and SIGHUP set the flag; a second SIGINT ends the process at once.
// SIGPIPE is ignored: writes to a closed pipe fail instead. The first signal writes `notice` to stderr
// at once; it must be a literal.
void catch_stop_signals(const char* notice = "");
// The first such signal received, 0 if none.
int stop_signal();

}  // namespace lora
