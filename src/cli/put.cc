#include "cli/put.h"

#include <fmt/format.h>

#include <string>

#include "base/error.h"
#include "base/printable.h"
#include "base/terminal.h"
#include "cli/wrap.h"

namespace lora::cli {

namespace {

// At once: of stderr to a file or a pipe, Windows' C library keeps what does not fill a buffer.
void write_or_drop(std::FILE* out, std::string_view bytes) {
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), out) == bytes.size();
  if (std::fflush(out) != 0 || !written) std::clearerr(out);
}

}  // namespace

void put(std::FILE* out, std::string_view text) {
  write_or_drop(out, printable_lines(text));
}

void say(std::FILE* out, std::string_view line) {
  say(out, line, columns_of(out));
}

void say(std::FILE* out, std::string_view line, int columns) {
  write_or_drop(out, wrap_message(message_line(line), columns) + "\n");
}

void redraw(std::FILE* out, std::string_view line, int n_above) {
  // To the line's start; clear it, or up and clear all below.
  const std::string clear = n_above > 0 ? fmt::format("\r\x1b[{}A\x1b[J", n_above) : "\r\x1b[K";
  write_or_drop(out, clear + printable(line, line.size()));
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
