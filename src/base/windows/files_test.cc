// Files that other programs have open, long and foreign names, locks: what Windows has of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/file_status.h"
#include "base/output_test_util.h"
#include "base/path.h"
#include "base/same_file.h"
#include "base/windows/wide.h"

namespace lora {
namespace windows_files_test {

using testing::HasSubstr;

class WindowsFiles : public Outputs {
 protected:
  HANDLE open(const std::string& path, DWORD share) {
    return CreateFileW(wide_path(path).c_str(), GENERIC_READ, share, nullptr, OPEN_EXISTING, 0, nullptr);
  }
};

TEST_F(WindowsFiles, HaveNamesOfEveryScript) {
  const Names all = {"модель.gguf", "模型.gguf", "a b.gguf", "\xf0\x9f\x90\x9f.gguf"};
  for (const std::string& name : all) {
    write(folder + name, name);
    EXPECT_EQ(text(name), name);
    EXPECT_EQ(file_bytes(folder + name), name.size());
  }
  EXPECT_EQ(names(), all);
  for (const std::string& name : all) remove_file(folder + name);
  EXPECT_EQ(names(), Names{});
}

TEST_F(WindowsFiles, MayLieDeep) {
  std::string deep = folder;
  for (int i = 0; i < 4; ++i) deep += std::string(100, char('a' + i)) + "/";
  bool is_new = false;
  ASSERT_FALSE(make_folders(deep, is_new));
  EXPECT_TRUE(is_new && is_directory(deep));
  write(deep + "out", "text");
  EXPECT_EQ(MappedFile(deep + "out").text(), "text");
  EXPECT_EQ(files_in(deep), std::vector<std::string>{"out"});
  EXPECT_EQ(files_below(folder).files.size(), 1u);
  EXPECT_TRUE(lies_in(deep + "out", folder));
  remove_file(deep + "out");
  for (std::string at = deep; at.size() > folder.size(); at = folder_of(without_last_separators(at)) + "/")
    EXPECT_FALSE(remove_folder(at)) << at;
}

// A virus scanner looks at the file for a moment, and lets nobody do what is done then.
TEST_F(WindowsFiles, ThatAreOpenForAMomentAreWaitedFor) {
  const auto keep_all = [](std::string_view) { return true; };
  struct Use {
    const char* what;
    DWORD share;  // of the scanner
    std::function<void()> use;
    std::string after;
  } uses[] = {
      {"replaced", FILE_SHARE_READ, [&] { write(out, "new"); }, "new"},
      {"read", 0, [&] { EXPECT_EQ(text("out"), "old\n"); }, "old\n"},
      {"appended to", FILE_SHARE_READ, [&] { AppendFile(out, keep_all).write_line("new"); }, "old\nnew\n"},
      {"removed", FILE_SHARE_READ, [&] { EXPECT_FALSE(remove_name(out)); }, ""}};
  for (const Use& use : uses) {
    SCOPED_TRACE(use.what);
    put("out", "old\n");
    const HANDLE held = open(out, use.share);
    ASSERT_NE(held, INVALID_HANDLE_VALUE);
    std::thread scanner([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      CloseHandle(held);
    });
    EXPECT_EQ(error_of(use.use), "");
    scanner.join();
    EXPECT_EQ(names(), use.after.empty() ? Names{} : Names{"out"});
    if (!use.after.empty()) EXPECT_EQ(text("out"), use.after);
  }
}

TEST_F(WindowsFiles, ThatStayOpenAreAnErrorAndStay) {
  put("out", "old");
  const HANDLE held = open(out, FILE_SHARE_READ);
  EXPECT_THAT(error_of([&] { write(out, "new"); }), HasSubstr("out: cannot write: "));
  CloseHandle(held);
  EXPECT_EQ(text("out"), "old");
  EXPECT_EQ(names(), Names{"out"});
}

TEST_F(WindowsFiles, ThatAProgramReadsCanBeReplaced) {
  put("out", "old");
  const MappedFile before(out);
  write(out, "new");
  EXPECT_EQ(before.text(), "old");
  EXPECT_EQ(text("out"), "new");
}

TEST_F(WindowsFiles, OfLargeSizeAreMapped) {
  const std::string large(size_t{65} << 20, 'x');
  write(out, large);
  const MappedFile file(out);
  EXPECT_EQ(file.text() == large, true);
  MappedFile::release(file.bytes());
  EXPECT_EQ(file.text() == large, true);
}

TEST_F(WindowsFiles, ThatAreWriteProtectedOrNoFilesAreRefused) {
  put("out", "old");
  SetFileAttributesW(wide_path(out).c_str(), FILE_ATTRIBUTE_READONLY);
  EXPECT_THAT(error_of([&] { Hold{out}; }), HasSubstr("the file is write-protected"));
  SetFileAttributesW(wide_path(out).c_str(), FILE_ATTRIBUTE_NORMAL);
  for (const std::string& path : {std::string("NUL"), folder, out + ":stream", folder + "a?b"})
    EXPECT_THAT(error_of([&] { AtomicFile{path}; }), HasSubstr(": cannot write: ")) << path;
  for (const char* name : {"nul", "Con.gguf", "COM1", "lpt9.a.b", "com\u00b2", "aux .txt"}) {
    EXPECT_THAT(error_of([&] { AtomicFile{folder + name}; }), HasSubstr("keeps this name for a device"))
        << name;
    EXPECT_THAT(error_of([&] { MappedFile{folder + name}; }), HasSubstr("keeps this name for a device"))
        << name;
  }
  for (const char* name : {"console", "com", "com10", "nul_", "a.nul"}) {
    write(folder + name, name);
    remove_file(folder + name);
  }
  EXPECT_THAT(error_of([&] { MappedFile{folder}; }), HasSubstr("cannot open: a folder"));
  EXPECT_EQ(names(), Names{"out"});
}

TEST_F(WindowsFiles, OfOneHolderNamesItsProcess) {
  const Hold hold(out);
  const std::string who = "process " + std::to_string(process_id()) + " writes it";
  EXPECT_THAT(error_of([&] { Hold{out}; }), HasSubstr(who));
  EXPECT_THAT(error_of([&] { Hold{folder + "OUT"}; }), HasSubstr(who)) << "the same name";
  EXPECT_EQ(names(), Names{"out.lora-lock"});
}

TEST_F(WindowsFiles, LeftByAKilledWriterAreRemoved) {
  put("out.lora-lock", "123 0123456789abcdef\n");
  put("out.0123456789abcdef.tmp", "left");
  write(out, "new");
  EXPECT_EQ(names(), Names{"out"});
}

}  // namespace windows_files_test
}  // namespace lora
