// Pages that the system says it cannot read, in a process of its own: a loss stays for the life of a process.
#include "base/lost_pages.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/file_status.h"
#include "base/parallel.h"
#include "base/process.h"
#include "base/windows/windows.h"

namespace lora {
namespace windows_lost_pages_test {

constexpr size_t kBytes = size_t{130} << 20;  // is mapped, and takes zeros three times

std::string new_file(const std::string& name) {
  const std::string path = testing::TempDir() + "lora_lost_" + std::to_string(process_id()) + "_" + name;
  AtomicFile file(path);
  file.write(std::string(kBytes, 'x'));
  file.commit();
  return path;
}

int64_t sum(std::span<const std::byte> bytes) {
  int64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 512) sum += int64_t(bytes[i]);
  return sum;
}

// As the system does where a disk fails or a network drive is gone.
void fail_at(const void* address) {
  const ULONG_PTR facts[] = {0, reinterpret_cast<ULONG_PTR>(address), 0xc000000e};
  RaiseException(EXCEPTION_IN_PAGE_ERROR, 0, 3, facts);
}

[[noreturn]] void lose_a_file() {
  catch_lost_pages();
  const std::string path = new_file("gone"), other_path = new_file("whole");
  int status = 0;
  {
    const MappedFile file(path), other(other_path);
    const int64_t whole = sum(file.bytes());
    if (whole == 0 || !lost_pages().empty()) status = 1;
    ThreadPool pool(4);
    pool.run(16, [&](int64_t i, int) { fail_at(file.bytes().data() + i * 1000); });
    if (sum(file.bytes()) != 0) status = 2;
    if (sum(other.bytes()) != whole) status = 3;
  }
  try {
    expect_no_lost_pages();
    status = 4;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  remove_file(path);
  remove_file(other_path);
  std::fflush(stderr);
  std::_Exit(status);
}

TEST(WindowsLostPages, AFileReadsAsZerosAndIsNamed) {
  EXPECT_EXIT(lose_a_file(), testing::ExitedWithCode(0), "_gone: cannot be read any more");
}

TEST(WindowsLostPages, OthersEndTheProgramAsEver) {
  EXPECT_DEATH(
      {
        catch_lost_pages();
        static const int nobodys = 0;
        fail_at(&nobodys);
      },
      "");
}

}  // namespace windows_lost_pages_test
}  // namespace lora
