// Ctrl-C and its relatives, as a flag that long work looks at between steps.
#pragma once

namespace lora {

// From here on SIGINT, SIGTERM and SIGHUP set the flag; a second SIGINT ends the process at once.
// SIGPIPE is ignored: writes to a closed pipe fail instead.
void catch_stop_signals();
// The first such signal received, 0 if none.
int stop_signal();

}  // namespace lora
