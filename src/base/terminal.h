// Whether people or programs read what is printed.
#pragma once

#include <cstdio>

namespace lora {

bool stdout_is_terminal();
bool stderr_is_terminal();
bool stderr_is_stdout();  // the same file, terminal or pipe
bool stdin_is_terminal();
// For programs, at their start: where a standard stream is closed, /dev/null takes its place. Else the next
// file that is opened would get its number, and messages.
void open_standard_streams();
// Columns of the terminal that `out` is, 80 where it does not say; 0: it is none.
int columns_of(std::FILE* out);

}  // namespace lora
