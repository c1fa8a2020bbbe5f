// Ctrl-C and its relatives, as a flag that long work looks at between steps.
#pragma once

namespace lora {

// From here on SIGINT, SIGTERM and SIGHUP set the flag; a second SIGINT ends the process at once, without
// what it has begun to write (base/leftover.h), unless it comes within a tenth of a second of the first: then
// both are one Ctrl-C that reached the process twice, from the terminal and from what started it. A signal
// that is ignored already stays so (nohup, a shell's
// "&"). SIGPIPE is ignored: writes to a closed pipe fail instead. The first signal writes `notice` to stderr
// at once; it must be a literal.
void catch_stop_signals(const char* notice = "");
// The first such signal received, 0 if none.
int stop_signal();

// A write beyond the limit on file sizes (ulimit -f) fails from here on as any other, in place of SIGXFSZ.
void ignore_file_size_signal();

}  // namespace lora
