// The only place that writes to the standard streams. Messages quote files, names and models; here whatever
// they hold becomes printable, so that no caller has to remember.
#pragma once

#include <cstdio>
#include <string_view>

namespace lora::cli {

// Messages to people, of any number of lines. A terminal that is gone, a full disk or a closed pipe must not
// end the work, so what cannot be written is dropped.
void put(std::FILE* out, std::string_view text);

// A message: a line of bounded length, on a terminal broken at words.
void say(std::FILE* out, std::string_view line);
void say(std::FILE* out, std::string_view line, int columns);  // 0: of no terminal

// The last line, which is redrawn while work goes on; "" clears it. n_above: rows above the cursor's that
// the line before takes, since the window became narrower.
void redraw(std::FILE* out, std::string_view line, int n_above = 0);

// Results, on standard output; Error if they cannot be written. Text for people is made printable, and so is
// JSON, which stays the same JSON.
void print(std::string_view text);
void print_json(std::string_view json);
// The same with a line feed, at once.
void print_json_line(std::string_view json);
// As it is: for programs, or printable already and with our own colours.
void print_bytes(std::string_view bytes);

}  // namespace lora::cli
