// What a console tells its programs: Ctrl-C, Ctrl-Break, its window closed, its user gone, the machine shut
// down.
#include <chrono>
#include <functional>
#include <thread>

#include "base/path.h"
#include "base/process.h"
#include "base/windows/wide.h"
#include "cli_test.h"
#include "windows/ends_with_us.h"

namespace lora::test {
namespace windows_interrupt_test {

using Args = std::vector<std::string>;
using testing::HasSubstr;

BOOL WINAPI is_not_for_us(DWORD) {
  return TRUE;
}

HANDLE new_inherited_file(const std::string& path) {
  SECURITY_ATTRIBUTES inherited = {sizeof inherited, nullptr, TRUE};
  return CreateFileW(wide_path(path).c_str(), GENERIC_WRITE,
                     FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, &inherited, CREATE_ALWAYS, 0,
                     nullptr);
}

// The program, told of events while it runs. What it says goes into the files out.txt and err.txt.
class Running {
 public:
  Running(const Folder& folder, const Args& args) : folder_(folder) {
    const Handle out(new_inherited_file(folder.at("out.txt"))), err(new_inherited_file(folder.at("err.txt")));
    std::string command = shell_word(LORA_PROGRAM);
    for (const std::string& arg : args) command += " " + shell_word(arg);
    STARTUPINFOW start = {};
    start.cb = sizeof start;
    start.dwFlags = STARTF_USESTDHANDLES;
    start.hStdOutput = out.get();
    start.hStdError = err.get();
    PROCESS_INFORMATION child = {};
    std::wstring line = wide(command);
    if (!CreateProcessW(wide_path(LORA_PROGRAM).c_str(), line.data(), nullptr, nullptr, TRUE, 0, nullptr,
                        wide(folder.path).c_str(), &start, &child))
      throw std::runtime_error("CreateProcess: " + windows_error().message());
    ends_with_us(child.hProcess);
    CloseHandle(child.hThread);
    process_ = child.hProcess;
  }
  ~Running() {
    TerminateProcess(process_, 1);
    CloseHandle(process_);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  HANDLE process() const { return process_; }
  std::string err() const { return folder_.read("err.txt"); }
  bool has_ended(DWORD milliseconds = 0) const {
    return WaitForSingleObject(process_, milliseconds) == WAIT_OBJECT_0;
  }
  void wait_for(const std::string& mark) const {
    while (err().find(mark) == std::string::npos && !has_ended(5)) {
    }
  }
  // -1: it has not ended in two minutes.
  int status() const {
    DWORD status = DWORD(-1);
    if (has_ended(120'000)) GetExitCodeProcess(process_, &status);
    return int(status);
  }

 private:
  const Folder& folder_;
  HANDLE process_ = nullptr;
};

// As the system itself does: this function runs in a new thread of the process, with the event. It lies at
// the same place in every process. What stands before it, a window and who closes it, is not tried.
void tell(const Running& running, DWORD event) {
  if (event == CTRL_C_EVENT) {
    ASSERT_TRUE(GenerateConsoleCtrlEvent(event, 0)) << windows_error().message();
    return;
  }
  void* const routine = reinterpret_cast<void*>(find_function<void()>(L"kernelbase.dll", "CtrlRoutine"));
  ASSERT_NE(routine, nullptr);
  const Handle thread(CreateRemoteThread(running.process(), nullptr, 0,
                                         reinterpret_cast<LPTHREAD_START_ROUTINE>(routine),
                                         reinterpret_cast<void*>(uintptr_t{event}), 0, nullptr));
  ASSERT_TRUE(bool(thread)) << windows_error().message();
}

class WindowsConsole : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  // A console of its own: nobody else hears of what happens there.
  static void SetUpTestSuite() {
    FreeConsole();
    ASSERT_TRUE(AllocConsole()) << windows_error().message();
    ASSERT_TRUE(SetConsoleCtrlHandler(is_not_for_us, TRUE));
  }
};

struct Event {
  const char* name;
  DWORD number;
  int status;
};

class WindowsConsoleEvent : public WindowsConsole, public testing::WithParamInterface<Event> {};

TEST_P(WindowsConsoleEvent, SavesAndTheRunGoesOnToTheSameBytes) {
  const Args flags = kFinetune + Args{"--lora-out",   "lora.gguf", "--checkpoint-out", "c.gguf",
                                      "--save-every", "0",         "--adam-iter",      "60"};
  ASSERT_EQ(folder.lora(flags).status, 0);
  const std::string lora = folder.read("lora.gguf"), checkpoint = folder.read("c.gguf");
  std::set<std::string> names = folder.names();
  std::filesystem::remove(folder.at("lora.gguf"));
  std::filesystem::remove(folder.at("c.gguf"));
  {
    const Running running(folder, flags);
    running.wait_for("iter=     2 ");
    tell(running, GetParam().number);
    EXPECT_EQ(running.status(), GetParam().status) << running.err();
    EXPECT_THAT(running.err(), HasSubstr("stopping: the iteration in work is finished or dropped"));
    EXPECT_THAT(running.err(), HasSubstr("it was asked to stop"));
    EXPECT_THAT(running.err(), testing::Not(HasSubstr("error: ")));
  }
  ASSERT_TRUE(folder.has("c.gguf"));
  EXPECT_NE(folder.read("lora.gguf"), lora);
  const RunResult resumed = folder.lora(flags + Args{"--checkpoint-in", "c.gguf"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_TRUE(folder.read("lora.gguf") == lora);
  EXPECT_TRUE(folder.read("c.gguf") == checkpoint);
  names.insert({"out.txt", "err.txt"});
  EXPECT_EQ(folder.names(), names);
}

INSTANTIATE_TEST_SUITE_P(Events, WindowsConsoleEvent,
                         testing::Values(Event{"CtrlC", CTRL_C_EVENT, 128 + kInterrupt},
                                         Event{"CtrlBreak", CTRL_BREAK_EVENT, 128 + kInterrupt},
                                         Event{"Close", CTRL_CLOSE_EVENT, 128 + kHangUp},
                                         Event{"LogOff", CTRL_LOGOFF_EVENT, 128 + kTerminate},
                                         Event{"ShutDown", CTRL_SHUTDOWN_EVENT, 128 + kTerminate}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(WindowsConsole, ASecondCtrlCLeavesAtOnceAndDamagesNothing) {
  const Args flags = kFinetune + Args{"--lora-out",   "lora.gguf", "--checkpoint-out", "c.gguf",
                                      "--save-every", "5",         "--adam-iter",      "40"};
  ASSERT_EQ(folder.lora(flags).status, 0);
  const std::string lora = folder.read("lora.gguf");
  std::string err = "checkpoint:";
  // Again where it had ended before the second.
  for (int i = 0; i < 20 && err.find("checkpoint:") != err.npos; ++i) {
    std::filesystem::remove(folder.at("c.gguf"));
    // An iteration takes longer than the time in which two are taken for one.
    const Running running(folder, flags + Args{"--grad-acc", "40"});
    running.wait_for("iter=     6 ");
    tell(running, CTRL_C_EVENT);
    running.wait_for("stopping");
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
    tell(running, CTRL_C_EVENT);
    EXPECT_EQ(running.status(), 128 + kInterrupt) << running.err();
    err = running.err();
  }
  EXPECT_THAT(err, testing::Not(HasSubstr("checkpoint:"))) << "it has ended as after one Ctrl-C";
  ASSERT_TRUE(folder.has("c.gguf"));
  for (const std::string& name : folder.names()) EXPECT_FALSE(name.ends_with(".tmp")) << name;
}

// Those that save nothing on the way: what they had begun is gone, or it is there whole.
TEST_F(WindowsConsole, AnyCommandLeavesNothingHalfWritten) {
  ASSERT_EQ(folder.lora(kFinetune + Args{"--checkpoint-out", "", "--lora-out", "l.gguf"}).status, 0);
  const std::set<std::string> before = folder.names();
  for (const auto& [command, output] :
       {std::pair<Args, std::string>{{"convert-lora", "l.gguf", "--base", "model.gguf", "-o", "o.gguf"},
                                     "o.gguf"},
        {{"quantize", "--allow-requantize", "model.gguf", "o.gguf", "q4_0", "1"}, "o.gguf"},
        {{"export-lora", "-m", "model.gguf", "--lora", "l.gguf", "-o", "o.gguf", "-t", "1"}, "o.gguf"}}) {
    SCOPED_TRACE(testing::PrintToString(command));
    std::set<std::string> whole = before;
    whole.insert({output, "out.txt", "err.txt"});
    std::set<std::string> none = whole;
    none.erase(output);
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(Running(folder, command).status(), 0);
    const auto duration = std::chrono::steady_clock::now() - start;
    const std::string bytes = folder.read(output);
    for (int i = 0; i < 8; ++i) {
      const DWORD event = i % 2 == 0 ? CTRL_C_EVENT : CTRL_CLOSE_EVENT;
      std::filesystem::remove(folder.at(output));
      const Running running(folder, command);
      std::this_thread::sleep_for(duration * (i + 1) / 8);
      if (!running.has_ended()) tell(running, event);
      const int status = running.status();
      const bool is_there = folder.has(output);
      EXPECT_NE(status, -1);
      // Before it had begun the system has ended it; Wine then says 0.
      EXPECT_TRUE(status != 0 || is_there || running.err().empty()) << i << running.err();
      EXPECT_EQ(folder.names(), is_there ? whole : none) << i << ": " << status << running.err();
      if (is_there) EXPECT_TRUE(folder.read(output) == bytes) << i;
    }
  }
}

// Of Windows' libraries these two make it a program with windows, which is not told that its user leaves.
TEST_F(WindowsConsole, OfALibraryForWindowsOnTheScreenNothingIsLoaded) {
  const Running running(folder,
                        kFinetune + Args{"--checkpoint-out", "", "--lora-out", "", "--adam-iter", "100000"});
  running.wait_for("iter=     1 ");
  ASSERT_FALSE(running.has_ended()) << running.err();
  HMODULE modules[256];
  DWORD bytes = 0;
  ASSERT_TRUE(EnumProcessModules(running.process(), modules, sizeof modules, &bytes));
  std::set<std::string> names;
  for (size_t i = 0; i < std::min<size_t>(256, bytes / sizeof(HMODULE)); ++i) {
    wchar_t name[MAX_PATH];
    const DWORD n = GetModuleBaseNameW(running.process(), modules[i], name, MAX_PATH);
    names.insert(fold_case(narrow({name, n})));
  }
  EXPECT_TRUE(names.contains("KERNEL32.DLL")) << testing::PrintToString(names);
  for (const char* name : {"USER32.DLL", "GDI32.DLL"})
    EXPECT_FALSE(names.contains(name)) << testing::PrintToString(names);
}

}  // namespace windows_interrupt_test
}  // namespace lora::test
