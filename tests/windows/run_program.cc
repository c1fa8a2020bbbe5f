#include "run_program.h"

#include <chrono>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

#include "base/process.h"
#include "base/windows/wide.h"
#include "ends_with_us.h"

namespace lora::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail_to(const std::string& what) {
  throw std::runtime_error(what + ": " + windows_error().message());
}

// One end of a pipe that the program inherits, and ours.
struct Pipe {
  HANDLE theirs = nullptr, ours = nullptr;

  explicit Pipe(bool they_read) {
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, nullptr, TRUE};
    HANDLE read = nullptr, write = nullptr;
    if (!CreatePipe(&read, &write, &inherited, 1 << 16)) fail_to("CreatePipe");
    theirs = they_read ? read : write;
    ours = they_read ? write : read;
    SetHandleInformation(ours, HANDLE_FLAG_INHERIT, 0);
  }
  ~Pipe() {
    close(theirs);
    close(ours);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  static void close(HANDLE& end) {
    if (end) CloseHandle(end);
    end = nullptr;
  }
};

// In place while a program is started.
class Environment {
 public:
  explicit Environment(const std::vector<std::pair<std::string, std::string>>& set) {
    for (const auto& [name, value] : set) {
      wchar_t text[4096];
      const DWORD n = GetEnvironmentVariableW(wide(name).c_str(), text, 4096);
      before_.emplace_back(name, n > 0 ? std::optional(narrow({text, n})) : std::nullopt);
      SetEnvironmentVariableW(wide(name).c_str(), wide(value).c_str());
    }
  }
  ~Environment() {
    for (const auto& [name, value] : before_)
      SetEnvironmentVariableW(wide(name).c_str(), value ? wide(*value).c_str() : nullptr);
  }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

// Events go to those that share one. What Wine starts without a terminal has one in name only.
void have_console() {
  if (GetConsoleCP() != 0) return;
  FreeConsole();
  AllocConsole();
}

// kInterrupt as the system itself brings it: its routine runs in a new thread of the process, with the event.
void end_by(HANDLE process, int number) {
  if (number != kInterrupt) {
    TerminateProcess(process, UINT(128 + number));
    return;
  }
  const auto routine = find_function<DWORD WINAPI(void*)>(L"kernelbase.dll", "CtrlRoutine");
  if (!routine) return;  // the test sees that the program goes on
  const Handle thread(CreateRemoteThread(process, nullptr, 0, routine,
                                         reinterpret_cast<void*>(uintptr_t{CTRL_BREAK_EVENT}), 0, nullptr));
}

}  // namespace

bool is_posix() {
  return false;
}

bool make_fifo(const std::string&) {
  return false;
}

RunResult run_program(const std::vector<std::string>& args, const RunOptions& options) {
  have_console();
  std::string command;
  for (const std::string& arg : args) command += (command.empty() ? "" : " ") + shell_word(arg);
  Pipe in(true), out(false), err(false);
  STARTUPINFOW start_info = {};
  start_info.cb = sizeof start_info;
  start_info.dwFlags = STARTF_USESTDHANDLES;
  start_info.hStdInput = in.theirs;
  start_info.hStdOutput = out.theirs;
  start_info.hStdError = err.theirs;
  PROCESS_INFORMATION child = {};
  std::wstring line = wide(command);
  {
    const Environment environment(options.environment);
    const std::wstring folder = wide(options.directory);
    // In this process's group: in one of its own it begins with Ctrl-C ignored, and Wine with all events.
    if (!CreateProcessW(wide_path(args[0]).c_str(), line.data(), nullptr, nullptr, TRUE, 0, nullptr,
                        folder.empty() ? nullptr : folder.c_str(), &start_info, &child))
      fail_to(args[0]);
  }
  ends_with_us(child.hProcess);
  const Handle process(child.hProcess), thread(child.hThread);
  for (Pipe* pipe : {&in, &out, &err}) Pipe::close(pipe->theirs);

  RunResult run;
  std::mutex mutex;
  const auto read_all = [&](HANDLE from, std::string& text) {
    char buffer[1 << 14];
    for (DWORD n = 0; ReadFile(from, buffer, sizeof buffer, &n, nullptr) && n > 0;) {
      const std::lock_guard lock(mutex);
      text.append(buffer, n);
    }
  };
  std::thread writer([&] {
    for (size_t at = 0; at < options.input.size();) {
      DWORD n = 0;
      if (!WriteFile(in.ours, options.input.data() + at, DWORD(options.input.size() - at), &n, nullptr))
        break;
      at += n;
    }
    Pipe::close(in.ours);
  });
  std::thread out_reader([&] { read_all(out.ours, run.out); }),
      err_reader([&] { read_all(err.ours, run.err); });

  bool sent = false, timed_out = false, killed = false;
  const auto start = Clock::now();
  const auto after = [&](double seconds) {
    return Clock::now() - start > std::chrono::duration<double>(seconds);
  };
  while (WaitForSingleObject(process.get(), options.kill_after_s > 0 ? 1 : 5) == WAIT_TIMEOUT) {
    std::string err_so_far;
    if (options.signal_on && !sent) {
      const std::lock_guard lock(mutex);
      err_so_far = run.err;
    }
    const int number = options.signal_on && !sent ? options.signal_on(err_so_far) : 0;
    if (number != 0) {
      end_by(process.get(), number);
      sent = true;
    }
    if (options.kill_after_s > 0 && !killed && after(options.kill_after_s)) {
      end_by(process.get(), kKill);
      killed = true;
    }
    if (!timed_out && after(options.timeout_s)) {
      end_by(process.get(), kKill);
      timed_out = true;
    }
  }
  writer.join();
  out_reader.join();
  err_reader.join();
  if (timed_out) throw std::runtime_error("timeout: " + args[0] + "\n" + run.err);
  PROCESS_MEMORY_COUNTERS use = {};
  GetProcessMemoryInfo(process.get(), &use, sizeof use);
  run.peak_bytes = int64_t(use.PeakWorkingSetSize);
  DWORD status = 0;
  GetExitCodeProcess(process.get(), &status);
  run.status = int(status);
  return run;
}

}  // namespace lora::test
