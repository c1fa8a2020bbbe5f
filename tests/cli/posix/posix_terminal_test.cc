// What the program shows where its standard streams are a terminal.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace posix_terminal_test {

using Args = std::vector<std::string>;
using testing::HasSubstr;
using testing::Not;

class PosixTerminal : public testing::Test {
 protected:
  Folder folder;
};

// The program's standard output is a terminal.
std::string shown_on_terminal(const Folder& folder, const Args& args) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_TRUE(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  // Kept open here, so that what was written stays to be read.
  const int kept = open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  std::string command = "exec \"$0\" \"$@\" > " + name;
  const RunResult run =
      run_program(Args{"/bin/sh", "-c", command, LORA_PROGRAM} + args, {.directory = folder.path});
  EXPECT_EQ(run.status, 0) << run.err;
  std::string shown(1 << 16, '\0');
  fcntl(terminal, F_SETFL, O_NONBLOCK);
  const ssize_t n = read(terminal, shown.data(), shown.size());
  shown.resize(n > 0 ? size_t(n) : 0);
  close(kept);
  close(terminal);
  return shown;
}

TEST_F(PosixTerminal, GeneratedTextIsPrintableThereAndUnchangedInAPipe) {
  const Args args = {"generate", "-m", "model.gguf", "-p", "The\x1b[2J\tship\nis", "-n", "1", "--temp", "0"};
  const RunResult run = folder.lora(args);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("The\x1b[2J\tship\nis"));
  const std::string shown = shown_on_terminal(folder, args);
  EXPECT_THAT(shown, HasSubstr("The\\x1b[2J"));
  EXPECT_THAT(shown, Not(HasSubstr("\x1b")));
  const std::string json = shown_on_terminal(
      folder, {"tokenize", "-m", "model.gguf", "--json", "-p", "a\x7f\xc2\x9b\xe2\x80\xae"});
  EXPECT_THAT(json, HasSubstr("\"pieces\""));
  EXPECT_THAT(json, Not(HasSubstr("\x7f")));
}

// What the program writes to its standard error, a terminal of so many columns.
std::string messages_on_terminal(const Folder& folder, const Args& args, int columns) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_TRUE(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  const int kept = open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  winsize size = {};
  size.ws_col = static_cast<unsigned short>(columns);
  EXPECT_EQ(ioctl(kept, TIOCSWINSZ, &size), 0);
  std::string shown;
  std::atomic<bool> ended = false;
  std::thread reader([&] {  // a terminal holds little of what nobody reads
    pollfd readable = {terminal, POLLIN, 0};
    for (bool last = false; !last;) {
      last = ended;
      while (poll(&readable, 1, 20) > 0) {
        char buffer[4096];
        const ssize_t n = read(terminal, buffer, sizeof buffer);
        if (n <= 0) break;
        shown.append(buffer, size_t(n));
      }
    }
  });
  const std::string command = "exec \"$0\" \"$@\" 2> " + name;
  const RunResult run =
      run_program(Args{"/bin/sh", "-c", command, LORA_PROGRAM} + args, {.directory = folder.path});
  ended = true;
  reader.join();
  EXPECT_EQ(run.status, 0) << shown;
  close(kept);
  close(terminal);
  std::erase(shown, '\r');
  return shown;
}

TEST_F(PosixTerminal, MessagesBreakAtWordsAndEvaluationsShowTheirProgress) {
  folder.write("text.txt", ship_sentences());
  const Args args = kFinetune + Args{"--val-split", "0.2", "--lora-out", "l.gguf", "--checkpoint-out", ""};
  const std::string shown = messages_on_terminal(folder, args, 60);
  EXPECT_THAT(shown, HasSubstr("] evaluating 2/8 "));
  EXPECT_THAT(shown, HasSubstr("] 2/2 epoch "));
  // The longest message: its lines end at words, and all but the first are indented.
  const size_t begin = shown.find("memory: needs "), end = shown.find("\n", shown.find("threads and tables"));
  ASSERT_TRUE(begin != shown.npos && end != shown.npos) << shown;
  const std::vector<std::string> lines = lines_of(shown.substr(begin, end - begin));
  EXPECT_GE(lines.size(), 3u);
  for (const std::string& line : lines) {
    EXPECT_LT(line.size(), 60u) << line;
    EXPECT_EQ(line.starts_with("  "), &line != &lines.front()) << line;
  }
  const RunResult piped = folder.lora(args);
  EXPECT_THAT(piped.err, contains_regex("\nmemory: needs [^\n]* threads and tables "));
  EXPECT_THAT(piped.err, Not(HasSubstr("evaluating")));
}

}  // namespace posix_terminal_test
}  // namespace lora::test
