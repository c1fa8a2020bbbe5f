// What the system does to a running program: signals that it was started to ignore, files that are cut while
// it reads them, limits on files and memory.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "cli_test.h"

namespace lora::test {
namespace system_test {

using Args = std::vector<std::string>;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

// The program, started by a shell that does `before` first.
RunResult lora_after(const Folder& folder, const std::string& before, const Args& args,
                     RunOptions options = {}) {
  options.directory = folder.path;
  return run_program(Args{"/bin/sh", "-c", before + "; exec \"$0\" \"$@\"", LORA_PROGRAM} + args, options);
}

// Does something once stderr holds the mark.
RunOptions when(const std::string& mark, const std::function<void()>& something) {
  RunOptions options;
  options.signal_on = [=, done = false](std::string_view err) mutable {
    if (!done && err.find(mark) != err.npos) {
      something();
      done = true;
    }
    return 0;
  };
  return options;
}

const Args kRun =
    kFinetune + Args{"--lora-out", "lora.gguf", "--checkpoint-out", "c.gguf", "--adam-iter", "12", "-t", "1"};

class Signals : public testing::TestWithParam<std::pair<const char*, int>> {};

// As nohup does with SIGHUP, and a shell's "&" with SIGINT.
TEST_P(Signals, IgnoredAtTheStartStayIgnored) {
  const auto [name, number] = GetParam();
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  RunOptions options;
  options.signal_on = [number = number](std::string_view err) {
    return err.find("iter=     2 ") == err.npos ? 0 : number;
  };
  const RunResult run = lora_after(folder, std::string("trap '' ") + name, kRun, options);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("iter=    12 "));
  EXPECT_THAT(run.err, Not(HasSubstr("stopping")));
}

INSTANTIATE_TEST_SUITE_P(All, Signals,
                         testing::Values(std::pair{"HUP", SIGHUP}, std::pair{"INT", SIGINT},
                                         std::pair{"TERM", SIGTERM}),
                         [](const auto& test) { return test.param.first; });

// Sends them one after the other, `pause` between, while a text is read that takes seconds.
RunResult signalled(const Folder& folder, const std::string& first, const std::string& pause,
                    const std::string& second) {
  std::string text;
  while (text.size() < (size_t{64} << 20)) text += ship_sentences();
  folder.write("text.txt", text);
  // It holds its outputs once it catches signals, before it reads.
  const std::string command =
      "\"$0\" \"$@\" 2> err.txt & child=$!; "
      "until [ -e c.gguf.lora-lock ] || ! kill -0 $child; do sleep 0.01; done; kill -" +
      first + " $child; until grep -q stopping err.txt; do sleep 0.01; done; sleep " + pause + "; kill -" +
      second + " $child; wait $child";
  Args args = {"/bin/bash", "-c", "set -m; " + command, LORA_PROGRAM};
  RunResult run = run_program(args + kRun, {.directory = folder.path});
  run.err = folder.read("err.txt");
  return run;
}

TEST(CtrlC, ASecondOneLeavesAtOnce) {
  const Folder folder;
  EXPECT_EQ(signalled(folder, "INT", "0.3", "INT").status, 130);
  EXPECT_FALSE(folder.has("c.gguf"));
}

TEST(CtrlC, AfterAnotherSignalItIsTheFirst) {
  const Folder folder;
  for (const char* first : {"TERM", "HUP"}) {
    const RunResult run = signalled(folder, first, "0.3", "INT");
    EXPECT_EQ(run.status, 128 + (first == std::string("TERM") ? SIGTERM : SIGHUP)) << run.err;
    EXPECT_TRUE(folder.has("c.gguf")) << run.err;
    std::filesystem::remove(folder.at("c.gguf"));
  }
}

const char* const kLost = "cannot be read any more: it was cut short or its disk failed while it was in use";

// The bundled model with tensors of 64 MB more, which take a while to be encoded again.
void write_large_model(const Folder& folder, const std::string& name) {
  const Gguf model = Gguf::open(kBundledModel);
  GgufWriter writer;
  for (const auto& [key, value] : model.values()) writer.set(key, value);
  for (const GgufTensor& t : model.tensors())
    writer.add_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims}, t.data);
  std::vector<float> values(size_t{1} << 21);
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i * 2654435761u % 1009) / 1009 - 0.5f;
  for (int i = 0; i < 8; ++i) {
    writer.add_tensor("blk." + std::to_string(100 + i) + ".ffn_up.weight", Type::F32, {1024, 2048},
                      std::as_bytes(std::span(values)));
  }
  writer.write(folder.at(name));
}

struct Cut {
  std::string name;
  Args args;
  std::string mark;  // of stderr, at which the file is cut; "": when its output is begun
};

std::ostream& operator<<(std::ostream& out, const Cut& cut) {
  return out << cut.name;
}

class CutWhileMapped : public testing::TestWithParam<Cut> {};

TEST_P(CutWhileMapped, IsOneErrorLineAndLeavesNothingHalfWritten) {
  const Folder folder;
  folder.write("text.txt", ship_sentences() + ship_sentences() + ship_sentences());
  const bool large = GetParam().mark.empty();
  if (large) {
    write_large_model(folder, "cut.gguf");
  } else {
    write_file(folder.at("cut.gguf"), read_file(kBundledModel));
  }
  std::set<std::string> before = folder.names();
  RunOptions options =
      when(GetParam().mark, [&] { std::filesystem::resize_file(folder.at("cut.gguf"), 4096); });
  std::thread cutter;
  std::atomic<bool> has_ended{false};
  if (large) {
    options.signal_on = {};
    cutter = std::thread([&] {
      const auto is_begun = [](const std::string& name) { return name.ends_with(".tmp"); };
      while (std::ranges::none_of(folder.names(), is_begun)) {
        if (has_ended) return;
        std::this_thread::sleep_for(1ms);
      }
      std::filesystem::resize_file(folder.at("cut.gguf"), 4096);
    });
  }
  const RunResult run = folder.lora(GetParam().args, options);
  has_ended = true;
  if (cutter.joinable()) cutter.join();
  expect_error(run, 1, std::string("error: cut.gguf: ") + kLost);
  std::set<std::string> left = folder.names();
  left.erase("c.gguf");  // which a run writes when it begins
  EXPECT_EQ(left, before);
}

INSTANTIATE_TEST_SUITE_P(
    All, CutWhileMapped,
    testing::Values(
        Cut{"Finetune",
            kFinetune + Args{"--model-base", "cut.gguf", "--lora-out", "l.gguf", "--checkpoint-out", "c.gguf",
                             "--save-every", "0", "--adam-iter", "1000000", "-t", "1"},
            "iter=     2 "},
        Cut{"Lbfgs",
            kFinetune + Args{"--model-base", "cut.gguf", "--lora-out", "l.gguf", "--checkpoint-out", "c.gguf",
                             "--save-every", "0", "--use-lbfgs", "--lbfgs-iter", "1000000", "-t", "1"},
            "iter=     2 "},
        Cut{"Generate",
            {"generate", "-m", "cut.gguf", "-p", "The", "-c", "2000", "--ignore-eos", "-t", "1"},
            "warning: a context of 2000"},
        Cut{"Eval",
            {"eval", "-m", "cut.gguf", "-f", "text.txt", "-c", "1025", "-t", "1"},
            "warning: a context"},
        Cut{"Imatrix",
            {"imatrix", "-m", "cut.gguf", "-f", "text.txt", "-c", "1025", "-t", "1", "-o", "i.gguf"},
            "warning: a context"},
        Cut{"Quantize", {"quantize", "cut.gguf", "out.gguf", "Q2_K", "1", "--allow-requantize"}, ""}),
    [](const auto& test) { return test.param.name; });

TEST(CutWhileMappedByARun, NamesTheLastGoodCheckpoint) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  write_file(folder.at("cut.gguf"), read_file(kBundledModel));
  const RunResult run =
      folder.lora(kRun + Args{"--model-base", "cut.gguf", "--save-every", "2", "--adam-iter", "100000"},
                  when("iter=     5 ", [&] { std::filesystem::resize_file(folder.at("cut.gguf"), 0); }));
  expect_error(run, 1, std::string("cut.gguf: ") + kLost + "; the last good checkpoint is c.gguf");
  write_file(folder.at("cut.gguf"), read_file(kBundledModel));
  const RunResult resumed =
      folder.lora(kRun + Args{"--model-base", "cut.gguf", "--checkpoint-in", "c.gguf", "--adam-iter", "8"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("iter=     8 "));
}

// Without help by the shell, which in a test of full disks ignores the signal of such a limit.
TEST(FileSizeLimit, IsAFailedWriteAndTrainingGoesOn) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  expect_error(lora_after(folder, "ulimit -f 64", kRun), 1, "c.gguf: cannot write: File too large");
  EXPECT_EQ(folder.names(), (std::set<std::string>{"model.gguf", "text.txt"}));
  // A limit that comes later.
  const std::string later =
      "\"$0\" \"$@\" & child=$!; until [ -e c.gguf ]; do sleep 0.01; done; prlimit --pid $child "
      "--fsize=65536; "
      "wait $child";
  const RunResult run = run_program(
      Args{"/bin/sh", "-c", later, LORA_PROGRAM} + kRun + Args{"--save-every", "50", "--adam-iter", "200"},
      {.directory = folder.path});
  expect_error(run, 1, "iteration 200 is not saved whole: c.gguf: cannot write: File too large");
  EXPECT_THAT(run.err,
              HasSubstr("warning: iteration 50 is not saved whole: c.gguf: cannot write: File too large"));
  EXPECT_EQ(folder.names(), (std::set<std::string>{"c.gguf", "model.gguf", "text.txt"}));
  const RunResult quantized =
      lora_after(folder, "ulimit -f 64", {"quantize", "model.gguf", "q.gguf", "F16", "--allow-requantize"});
  expect_error(quantized, 1, "q.gguf: cannot write: File too large");
  EXPECT_EQ(folder.names(), (std::set<std::string>{"c.gguf", "model.gguf", "text.txt"}));
}

// Whose number the next file would get, and its messages.
TEST(ClosedStreams, NoMessageGoesIntoAnOutput) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  const Args quantize = {"quantize", "model.gguf", "q.gguf", "Q4_0", "1", "--allow-requantize"};
  ASSERT_EQ(folder.lora(quantize).status, 0);
  const std::string quantized = folder.read("q.gguf");
  ASSERT_EQ(folder.lora(kRun).status, 0);
  const std::string adapter = folder.read("lora.gguf");
  for (const char* closed : {"exec 2>&-", "exec <&- 2>&-", "exec >&- 2>&-", "exec <&- >&- 2>&-"}) {
    for (const char* name : {"q.gguf", "lora.gguf", "c.gguf"}) std::filesystem::remove(folder.at(name));
    EXPECT_EQ(lora_after(folder, closed, quantize).status, 0) << closed;
    EXPECT_EQ(folder.read("q.gguf") == quantized, true) << closed;
    EXPECT_EQ(lora_after(folder, closed, kRun).status, 0) << closed;
    EXPECT_EQ(folder.read("lora.gguf") == adapter, true) << closed;
  }
}

// "(3 of 5 layers kept)" of the line about memory.
int layers_kept(const std::string& err) {
  const size_t at = err.find("activations (");
  return at == err.npos ? -1 : std::stoi(err.substr(at + 13));
}

// Less and less room: first all layers are kept, then fewer, then it is an error. Nothing dies for want of
// it.
TEST(AddressSpaceLimit, IsPlannedAround) {
  if (LORA_INSTRUMENTED)
    GTEST_SKIP() << "a sanitizer's memory is larger than the limit, an emulator sets none";
  const Folder folder;
  folder.write("text.txt", "<s>" + ship_sentences("") + "<s>" + ship_sentences(""));
  const Args flags =
      kFinetune + Args{"--ctx",      "256", "--batch",          "4", "-t",          "1", "--precision", "f32",
                       "--lora-out", "",    "--checkpoint-out", "",  "--adam-iter", "1", "--allow-cut"};
  std::set<int> kept;
  for (const int mib : {300, 90, 65}) {
    const RunResult run = lora_after(folder, "ulimit -v " + std::to_string(mib * 1024), flags);
    EXPECT_EQ(run.status, 0) << mib << "\n" << run.err;
    kept.insert(layers_kept(run.err));
  }
  EXPECT_EQ(kept.size(), 3u) << testing::PrintToString(kept);
  expect_error(lora_after(folder, "ulimit -v 40960", flags), 1,
               "MiB are needed at the least; these would fit: ");
}

// Where a program's pages do not lie elsewhere each time, so that the system brings in the same ones.
TEST(Estimate, CountsTheProgramAsARunDoes) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  const auto run = [&](const Args& args) {
    const bool can_fix = run_program({"/bin/sh", "-c", "setarch -R true"}, {}).status == 0;
    const RunResult result = lora_after(
        folder, can_fix ? "set -- \"$0\" \"$@\"; set -- setarch -R \"$@\"; exec \"$@\"" : ":", args);
    EXPECT_EQ(result.status, 0) << result.err;
    return std::pair(can_fix, result);
  };
  Args estimate = kRun + Args{"--json"};
  estimate[0] = "estimate";
  const double estimated =
      nlohmann::ordered_json::parse(run(estimate).second.out)["memory"]["program, vocabulary and samples"]
          .get<double>() /
      (1 << 20);
  const auto [is_fixed, trained] = run(kRun);
  const size_t at = trained.err.find("program, vocabulary and samples ");
  ASSERT_NE(at, trained.err.npos) << trained.err;
  const double counted = std::stod(trained.err.substr(at + 32));
#if defined(__x86_64__) && defined(NDEBUG)
  const bool is_measured = is_fixed && !LORA_INSTRUMENTED;  // what the constant was measured on
#else
  const bool is_measured = false;
#endif
  EXPECT_NEAR(estimated, counted, is_measured ? 0.15 : 2);
}

}  // namespace system_test
}  // namespace lora::test
