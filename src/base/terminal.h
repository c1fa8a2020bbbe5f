// Whether people or programs read what is printed.
#pragma once

namespace lora {

bool stdout_is_terminal();
bool stderr_is_terminal();
bool stdin_is_terminal();
// For programs, at their start: where a standard stream is closed, /dev/null takes its place. Else the next
// file that is opened would get its number, and messages.
void open_standard_streams();
// Columns of the terminal that stderr is; 80 where it does not say.
int stderr_columns();

}  // namespace lora
