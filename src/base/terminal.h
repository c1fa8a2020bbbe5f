// Whether people or programs read what is printed.
#pragma once

namespace lora {

bool stdout_is_terminal();
bool stderr_is_terminal();
bool stdin_is_terminal();
// Columns of the terminal that stderr is; 80 where it does not say.
int stderr_columns();

}  // namespace lora
