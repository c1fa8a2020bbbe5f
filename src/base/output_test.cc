#include "base/output.h"

#include <filesystem>

#include "base/file_status.h"
#include "base/output_test_util.h"
#include "base/path.h"
#include "base/process.h"

namespace lora {
namespace output_test {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST_F(Outputs, TakeTheirOwnNameOnlyOfHardLinks) {
  put("out", "old");
  fs::create_hard_link(out, folder + "other");
  write(out, "new");
  EXPECT_EQ(text("out"), "new");
  EXPECT_EQ(text("other"), "old");
}

TEST_F(Outputs, NamesOfTemporariesAreTheirOwnWhateverTheLength) {
  for (const size_t length : {size_t{1}, size_t{234}, size_t{235}, size_t{255}}) {
    const std::string name(length, 'n'), other = std::string(length - 1, 'n') + "m";
    const std::string temporary = temporary_name(folder + name);
    EXPECT_NE(temporary, temporary_name(folder + name));
    EXPECT_LE(temporary.size() - folder.size(), 255u);
    EXPECT_TRUE(is_temporary_of(folder + name, temporary));
    EXPECT_FALSE(is_temporary_of(folder + other, temporary));
    put(split_path(temporary).second, "left");
    write(folder + name, "text");
    EXPECT_EQ(names(), Names{name});
    EXPECT_EQ(text(name), "text");
    remove_file(folder + name);
  }
  // Cut between characters, not in one: each is two bytes.
  std::string name;
  while (name.size() < 254) name += "\xc3\xa4";
  const std::string temporary = temporary_name(folder + name);
  EXPECT_EQ((temporary.find('~') - folder.size()) % 2, 0u);
}

TEST_F(Outputs, AProcessWritesWhatItHolds) {
  {
    const Hold hold(out);
    write(out, "one");
    write(out, "two");
    EXPECT_THAT(error_of([&] { Hold{out}; }),
                HasSubstr("process " + std::to_string(process_id()) + " writes it"));
    EXPECT_EQ(names().size(), 2u) << "held until its end";
  }
  EXPECT_EQ(text("out"), "two");
  EXPECT_EQ(names(), Names{"out"});
}

// The length of a lock's text, and zeros for it.
TEST_F(Outputs, ALockThatAPowerCutEmptiedIsFree) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{23}}) {
    put("out.lora-lock", std::string(n, '\0'));
    EXPECT_EQ(error_of([&] { write(out, "new"); }), "") << n;
    EXPECT_EQ(names(), Names{"out"}) << n;
  }
}

}  // namespace output_test
}  // namespace lora
