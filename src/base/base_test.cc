#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/half.h"
#include "base/machine.h"
#include "base/pace.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/same_file.h"

namespace lora {
namespace base_test {

std::string scratch(const std::string& name) {
  return testing::TempDir() + "lora_base_" + name;
}

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Half, EveryF16SurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float f = to_f32(f16{uint16_t(bits)});
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(to_f32(to_f16(f))));
    } else {
      ASSERT_EQ(to_f16(f).bits, bits) << f;
    }
  }
  EXPECT_EQ(to_f32(f16{0x3c00}), 1.0f);
  EXPECT_EQ(to_f32(f16{0x0001}), 0x1p-24f);
  EXPECT_EQ(to_f32(f16{0xfbff}), -65504.0f);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);        // rounds up to infinity
  EXPECT_EQ(to_f16(1.00048828125f).bits, 0x3c00);  // halfway: to even
}

TEST(Half, EveryBf16SurvivesARoundTripAndTiesGoToEven) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float f = to_f32(bf16{uint16_t(bits)});
    if (!std::isnan(f)) {
      ASSERT_EQ(to_bf16(f).bits, bits);
    }
  }
  EXPECT_EQ(to_bf16(1.00390625f).bits, 0x3f80);
  EXPECT_EQ(to_bf16(1.01171875f).bits, 0x3f82);
  EXPECT_TRUE(std::isnan(to_f32(to_bf16(std::nanf("")))));
}

TEST(Random, IsAFunctionOfItsArguments) {
  EXPECT_EQ(random_bits(1, Purpose::test, 2, 3), random_bits(1, Purpose::test, 2, 3));
  std::set<uint64_t> seen;
  for (uint64_t seed : {0, 1})
    for (Purpose purpose : {Purpose::dropout, Purpose::shuffle})
      for (uint64_t stream : {0, 1})
        for (uint64_t element = 0; element < 100; ++element)
          seen.insert(random_bits(seed, purpose, stream, element));
  EXPECT_EQ(seen.size(), 800u);
}

TEST(Random, UniformHasTheRightMeanAndVariance) {
  double sum = 0, squares = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double u = random_uniform(7, Purpose::test, 0, uint64_t(i));
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / n));
}

TEST(Random, PermuteIsAPermutation) {
  for (uint64_t n : {1, 2, 3, 5, 64, 100, 1000}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t p = permute(42, 0, i, n);
      ASSERT_LT(p, n);
      seen.insert(p);
    }
    EXPECT_EQ(seen.size(), n);
  }
  int moved = 0;
  for (uint64_t i = 0; i < 1000; ++i) moved += permute(42, 0, i, 1000) != permute(42, 1, i, 1000);
  EXPECT_GT(moved, 950);
}

TEST(ThreadPool, RunsEveryTaskOnceAndRethrows) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<int> hits(round + 1, 0);
      pool.run(round + 1, [&](int64_t i, int worker) {
        ASSERT_LT(worker, threads);
        ++hits[size_t(i)];
      });
      for (int h : hits) ASSERT_EQ(h, 1);
    }
    std::vector<int> cover(1000, 0);
    pool.for_range(1000, 10, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++cover[size_t(i)];
    });
    for (int c : cover) ASSERT_EQ(c, 1);
    EXPECT_THROW(pool.run(8,
                          [](int64_t i, int) {
                            if (i == 3) fail("task {}", i);
                          }),
                 Error);
    pool.run(3, [](int64_t, int) {});
  }
}

// A simulated program of loops of two kinds, shared by two threads or done by one, for so many seconds.
struct Machine {
  double with_two;  // how long a loop takes by two threads, beside one
  double runs;      // the share of that time in which the caller runs
  double gap = 0;   // between loops, idle, in seconds
};
struct Shares {
  double seconds = 0, by_two = 0, longest_rest = 0;
  int n_looks = 0;
};
struct Program {
  Pace pace{2};
  double cpu = 0;
  int64_t loop = 0;
  Shares run(const Machine& machine, double duration) {
    Shares result;
    double rest = 0;
    bool rested = false;
    while (result.seconds < duration) {
      const bool is_long = ++loop % 3 == 0;
      const bool by_two = pace.n_active() == 2;
      const double alone = is_long ? 0.0004 : 0.00001;
      const double seconds = by_two ? alone * machine.with_two : alone;
      cpu += by_two ? seconds * machine.runs : seconds;
      if (pace.wants_time()) pace.add(is_long, is_long ? 1000 : 10, seconds, [&] { return cpu; });
      result.seconds += seconds + machine.gap;
      result.by_two += by_two ? seconds + machine.gap : 0;
      rest = by_two ? 0 : rest + seconds;
      result.n_looks += rested && by_two;
      rested = !by_two;
      result.longest_rest = std::max(result.longest_rest, rest);
    }
    return result;
  }
};

TEST(Pace, TwoThreadsStayWhereTheyAreFaster) {
  EXPECT_EQ(Program().run({.with_two = 0.5, .runs = 1}, 5).longest_rest, 0);
  EXPECT_EQ(Program().run({.with_two = 0.5, .runs = 1, .gap = 0.001}, 5).longest_rest, 0)
      << "idle between loops";
  // The caller waits, for longer tasks or a worker that is held up at times: that is looked at once.
  const Shares waits = Program().run({.with_two = 0.7, .runs = 0.6}, 5);
  EXPECT_GT(waits.longest_rest, 0);
  EXPECT_GT(waits.by_two, 0.98 * waits.seconds);
}

// With a processor busy: loops wait for the worker, or it and the caller have the other one in turn. Then the
// worker does not seem to be held up, it sleeps, and nobody waits at the end of a loop.
TEST(Pace, OneThreadStaysWhereTwoAreSlower) {
  for (const double with_two : {1.02, 1.2, 1.5}) {
    Program program;
    program.run({.with_two = with_two, .runs = 0.5}, 0.5);
    for (int second = 0; second < 10; ++second) {
      const Shares shares = program.run({.with_two = with_two, .runs = 0.5}, 1);
      EXPECT_LT(shares.by_two, 0.07 * shares.seconds) << with_two << ": second " << second;
    }
    const Shares later = program.run({.with_two = with_two, .runs = 0.5}, 30);
    EXPECT_GE(later.n_looks, 9);
    EXPECT_LE(later.longest_rest, 3.1);
    // The other program ends.
    EXPECT_LT(program.run({.with_two = 0.5, .runs = 1}, 4).longest_rest, 3.1);
    EXPECT_EQ(program.run({.with_two = 0.5, .runs = 1}, 5).longest_rest, 0);
    // Another one begins, and is noticed.
    program.run({.with_two = with_two, .runs = 0.5}, 1);
    const Shares again = program.run({.with_two = with_two, .runs = 0.5}, 5);
    EXPECT_LT(again.by_two, 0.15 * again.seconds);
  }
}

// Those of a large model, with short ones between them: the caller waits at their ends, some are held up, and
// nothing is tried that would take as long as they do.
TEST(Pace, LongLoopsAreSharedByAll) {
  Pace pace(2);
  double cpu = 0;
  for (int i = 0; i < 3000; ++i) {
    const double seconds = i % 20 == 0 ? 0.3 : i % 20 < 5 ? 0.004 : 0.0001;
    cpu += 0.8 * seconds;
    if (pace.wants_time()) pace.add(uint64_t(i % 20), 100, seconds, [&] { return cpu; });
    ASSERT_EQ(pace.n_active(), 2) << i;
  }
}

// Of four, one: the other three are as fast as four without it, two are slower.
TEST(Pace, NoMoreRestThanAreHeldUp) {
  Pace pace(4);
  double cpu = 0, seconds = 0, by_three = 0;
  while (seconds < 10) {
    const int n = pace.n_active();
    const double loop = n == 4 ? 0.0006 : 0.001 / n;
    cpu += n == 4 ? loop / 2 : loop;
    if (pace.wants_time()) pace.add(7, 100, loop, [&] { return cpu; });
    seconds += loop;
    if (n == 3) by_three += loop;
  }
  EXPECT_GT(by_three, 0.9 * seconds);
}

TEST(Files, AtomicFileAppearsWholeOrNotAtAll) {
  const std::string path = scratch("atomic");
  {
    AtomicFile f(path);
    f.write("first");
    f.commit();
  }
  EXPECT_EQ(read(path), "first");
  {
    AtomicFile f(path);
    f.write("second");
  }
  EXPECT_EQ(read(path), "first");
  EXPECT_THROW(AtomicFile(testing::TempDir() + "no/such/folder/x"), Error);
  std::filesystem::remove(path);
}

// What is called like a temporary file of the output would be removed.
TEST(Files, NothingIsWrittenOverWhatIsRead) {
  const std::string folder = scratch("inputs");
  std::filesystem::create_directories(folder + "/sub");
  const std::string temporary = ".0123456789abcdef.tmp";
  const std::vector<std::string> inputs = {"", folder, folder + "/../lora_base_model" + temporary};
  std::ofstream(folder + "/a") << "a";
  std::ofstream(folder + "/b" + temporary) << "b";
  for (const char* out : {"", "/a", "/b", "/sub/../a", "/../lora_base_model"}) {
    EXPECT_THROW(expect_new(folder + out, inputs), Error) << out;
  }
  for (const char* out : {"/c", "/a.gguf", "/sub/a", "/../lora_base_mode"}) {
    EXPECT_NO_THROW(expect_new(folder + out, inputs)) << out;
  }
  std::filesystem::remove_all(folder);
}

TEST(Files, MappedFileNamesWhatItCannotOpen) {
  EXPECT_THROW(MappedFile("/no/such/file"), Error);
  EXPECT_THROW(MappedFile{testing::TempDir()}, Error);
  const std::string path = scratch("empty");
  std::ofstream(path).close();
  EXPECT_EQ(MappedFile(path).bytes().size(), 0u);
  std::filesystem::remove(path);
}

TEST(Files, AppendFileKeepsTheLinesAskedFor) {
  const std::string path = scratch("append");
  {
    AppendFile f(path, [](auto) { return false; });
    for (int i = 0; i < 5; ++i) f.write_line(std::to_string(i));
  }
  {
    int n = 0;
    AppendFile f(path, [&](std::string_view line) { return line == std::to_string(n++) && n <= 3; });
    f.write_line("x");
  }
  EXPECT_EQ(read(path), "0\n1\n2\nx\n");
  {
    AppendFile f(path, [](auto) { return false; });
  }
  EXPECT_EQ(read(path), "");
  std::filesystem::remove(path);
}

TEST(Machine, TellsCoresAndMemory) {
  EXPECT_GE(physical_cores(), 1);
  EXPECT_LE(physical_cores(), int(std::thread::hardware_concurrency()));
  EXPECT_GT(available_memory().value_or(0), uint64_t{1} << 20);
  EXPECT_GT(resident_bytes(), uint64_t{1} << 16);
}

}  // namespace base_test
}  // namespace lora
