#include "cli/put.h"

#include <string>

#include "base/error.h"
#include "base/printable.h"

namespace lora::cli {

namespace {

void write_or_drop(std::FILE* out, std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), out) != bytes.size()) std::clearerr(out);
}

}  // namespace

void put(std::FILE* out, std::string_view text) {
  write_or_drop(out, printable_lines(text));
}

void say(std::FILE* out, std::string_view line) {
  write_or_drop(out, message_line(line) + "\n");
}

void redraw(std::FILE* out, std::string_view line) {
  write_or_drop(out, "\r\x1b[K" + printable(line, line.size()));  // to the line's start; clear it
  std::fflush(out);
}

void print(std::string_view text) {
  print_bytes(printable_lines(text));
}

void print_json(std::string_view json) {
  print_bytes(printable_json(json));
}

void print_json_line(std::string_view json) {
  print_json(std::string(json) + "\n");
  if (std::fflush(stdout) != 0) fail("standard output: cannot be written");
}

void print_bytes(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
    fail("standard output: cannot be written");
  }
}

}  // namespace lora::cli
