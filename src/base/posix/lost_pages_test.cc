// Mapped files that are cut, in processes of their own: a loss stays for the life of a process.
#include "base/lost_pages.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"

namespace lora {
namespace lost_pages_test {

constexpr size_t kBytes = size_t{1} << 20;

// Removed by each test's parent, since the child that fills it ends without a destructor.
const std::string& folder() {
  static const std::string path = testing::TempDir() + "lora_lost_" + std::to_string(getpid());
  return path;
}

std::string scratch(const std::string& name) {
  return folder() + "/" + name;
}

class LostPages : public testing::Test {
 protected:
  LostPages() { std::filesystem::create_directories(folder()); }
  ~LostPages() override { std::filesystem::remove_all(folder()); }
};

std::string new_file(const std::string& name) {
  const std::string path = scratch(name);
  std::ofstream(path) << std::string(kBytes, 'x');
  return path;
}

// Reads each byte.
int64_t sum(std::span<const std::byte> bytes) {
  int64_t sum = 0;
  for (const volatile std::byte& b : bytes) sum += int64_t(b);
  return sum;
}

// Runs the body; the exit status is 7 for an Error, whose message goes to stderr, else what it returns.
template <class Body>
[[noreturn]] void run(const Body& body) {
  int status = 7;
  try {
    status = body();
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  std::fflush(stderr);
  _exit(status);
}

TEST_F(LostPages, ACutFileReadsAsZerosAndIsNamed) {
  EXPECT_EXIT(run([] {
                catch_lost_pages();
                const std::string path = new_file("cut");
                const MappedFile other(new_file("whole"));
                const MappedFile file(path);
                expect_no_lost_pages();
                std::filesystem::resize_file(path, 10'000);
                sum(file.bytes());
                if (sum(file.bytes()) != 0 || sum(other.bytes()) != int64_t(kBytes) * 'x') return 3;
                expect_no_lost_pages();
                return 0;
              }),
              testing::ExitedWithCode(7), "/cut: cannot be read any more: it was cut short");
}

TEST_F(LostPages, ManyThreadsMeetThemAtOnce) {
  EXPECT_EXIT(run([] {
                catch_lost_pages();
                const std::string path = new_file("threads");
                const MappedFile file(path);
                std::filesystem::resize_file(path, 0);
                ThreadPool pool(4);
                pool.run(256, [&](int64_t i, int) { sum(file.bytes().subspan(size_t(i) * 4096, 4096)); });
                expect_no_lost_pages();
                return 0;
              }),
              testing::ExitedWithCode(7), "/threads: cannot be read any more");
}

// The rest of the last page reads as zeros without a signal.
TEST_F(LostPages, AFewBytesThatAreMissingAreSeenBeforeAFileIsWritten) {
  EXPECT_EXIT(run([] {
                const std::string path = new_file("few");
                const MappedFile file(path);
                AtomicFile out(scratch("few_out"));
                std::filesystem::resize_file(path, kBytes - 100);
                out.write(file.text());
                out.commit();
                return 0;
              }),
              testing::ExitedWithCode(7), "/few: cannot be read any more");
}

TEST_F(LostPages, NothingIsWrittenOfAFileThatIsClosedAlready) {
  EXPECT_EXIT(run([] {
                catch_lost_pages();
                const std::string path = new_file("closed");
                int64_t read = 0;
                {
                  const MappedFile file(path);
                  std::filesystem::resize_file(path, 0);
                  read = sum(file.bytes());
                }
                const std::string out_path = scratch("closed_out");
                try {
                  AtomicFile out(out_path);
                  out.write(std::to_string(read));
                  out.commit();
                } catch (const Error&) {
                  for (const std::string& name : files_in(folder())) {
                    if (scratch(name).starts_with(out_path)) return 3;  // or its temporary file
                  }
                  throw;
                }
                return 0;
              }),
              testing::ExitedWithCode(7), "/closed: cannot be read any more");
}

// A program that links the library and catches nothing: its other files are whole.
TEST_F(LostPages, WithoutAHandlerALossEndsWithItsMapping) {
  EXPECT_EXIT(run([] {
                const auto is_written = [] {
                  try {
                    AtomicFile out(scratch("later"));
                    out.write("text");
                    out.commit();
                  } catch (const Error&) {
                    return false;
                  }
                  expect_no_lost_pages();
                  return true;
                };
                for (const size_t left : {size_t{0}, kBytes - 100}) {
                  const std::string path = new_file("cut");
                  const MappedFile file(path);
                  std::filesystem::resize_file(path, left);
                  if (is_written()) return 3;
                  try {
                    AtomicFile out(scratch("copy"));
                    out.write_at(0, file.bytes().data(), file.bytes().size());
                    if (left == 0) return 4;
                  } catch (const Error&) {
                  }
                }
                return is_written() ? 0 : 5;
              }),
              testing::ExitedWithCode(0), "");
}

// The kernel's own reading of it says EFAULT, to programs that catch no SIGBUS, too.
TEST_F(LostPages, WritingFromACutFileNamesThatFile) {
  EXPECT_EXIT(run([] {
                const std::string path = new_file("source");
                const MappedFile file(path);
                AtomicFile out(scratch("source_out"));
                std::filesystem::resize_file(path, 0);
                out.write_at(0, file.bytes().data(), file.bytes().size());
                return 0;
              }),
              testing::ExitedWithCode(7), "/source: cannot be read any more");
}

TEST_F(LostPages, AFileThatIsReplacedOrRemovedStaysWhole) {
  EXPECT_EXIT(run([] {
                catch_lost_pages();
                const std::string path = new_file("replaced");
                const MappedFile file(path);
                std::ofstream(scratch("short")) << "short";
                std::filesystem::rename(scratch("short"), path);
                AtomicFile out(scratch("replaced_out"));
                out.write(file.text());
                out.commit();
                std::filesystem::remove(path);
                if (sum(file.bytes()) != int64_t(kBytes) * 'x') return 3;
                expect_no_lost_pages();
                return 0;
              }),
              testing::ExitedWithCode(0), "");
}

TEST_F(LostPages, ManyFilesAfterOneAnotherAreToldApart) {
  EXPECT_EXIT(run([] {
                catch_lost_pages();
                for (int i = 0; i < 50; ++i) {
                  MappedFile first(new_file("a")), second(new_file("b"));
                  if (i % 2) first = std::move(second);
                  if (sum(first.bytes()) != int64_t(kBytes) * 'x') return 3;
                }
                const MappedFile one(new_file("one")), two(new_file("two")), three(new_file("three"));
                std::filesystem::resize_file(two.path(), 0);
                sum(two.bytes());
                if (sum(one.bytes()) + sum(three.bytes()) != int64_t(2 * kBytes) * 'x') return 3;
                expect_no_lost_pages();
                return 0;
              }),
              testing::ExitedWithCode(7), "/two: cannot be read any more");
}

TEST_F(LostPages, OtherBusErrorsEndTheProgramAsEver) {
  if (LORA_INSTRUMENTED) GTEST_SKIP() << "a sanitizer reports the signal itself";
  const auto touch_a_mapping_of_no_file_of_ours = [] {
    catch_lost_pages();
    const std::string path = new_file("foreign");
    const MappedFile ours(path);
    std::FILE* file = std::fopen(path.c_str(), "r+");
    const char* page =
        static_cast<const char*>(mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fileno(file), 0));
    std::filesystem::resize_file(path, 0);
    return int(page[kBytes / 2]);
  };
  EXPECT_EXIT(run(touch_a_mapping_of_no_file_of_ours), testing::KilledBySignal(SIGBUS), "");
  EXPECT_EXIT(run([] {
                catch_lost_pages();
                raise(SIGBUS);
                return 0;
              }),
              testing::KilledBySignal(SIGBUS), "");
}

}  // namespace lost_pages_test
}  // namespace lora
