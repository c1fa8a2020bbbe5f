#include "run_program.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

namespace lora::test {
namespace {

// Replaces this (forked) process by the program; no return.
[[noreturn]] void become(const std::vector<std::string>& args, const RunOptions& options, int in, int out,
                         int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // what waits for input would wait on for ever when the test has ended
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  for (int fd = 3; fd < 64; ++fd) close(fd);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  if (!options.directory.empty() && chdir(options.directory.c_str()) != 0) _exit(126);
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

// A file without a name that holds the text: unlike a pipe it takes any length with nobody reading.
FILE* file_of(const std::string& text) {
  FILE* file = std::tmpfile();
  if (!file || std::fwrite(text.data(), 1, text.size(), file) != text.size() || std::fflush(file) != 0) {
    throw std::runtime_error("tmpfile: failed");
  }
  std::rewind(file);
  return file;
}

}  // namespace

bool is_posix() {
  return true;
}

bool make_fifo(const std::string& path) {
  return mkfifo(path.c_str(), 0600) == 0;
}

RunResult run_program(const std::vector<std::string>& args, const RunOptions& options) {
  int out[2], err[2];
  if (pipe(out) != 0 || pipe(err) != 0) throw std::runtime_error("pipe: failed");
  const std::unique_ptr<FILE, int (*)(FILE*)> in(file_of(options.input), std::fclose);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork: failed");
  if (child == 0) become(args, options, fileno(in.get()), out[1], err[1]);
  close(out[1]);
  close(err[1]);

  RunResult run;
  bool sent = false, timed_out = false, killed = false;
  const auto start = std::chrono::steady_clock::now();
  const auto deadline = start + std::chrono::duration<double>(options.timeout_s);
  const auto kill_time = start + std::chrono::duration<double>(options.kill_after_s);
  pollfd pipes[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
    poll(pipes, 2, options.kill_after_s > 0 ? 1 : 100);
    for (pollfd& p : pipes) {
      if (p.fd < 0 || p.revents == 0) continue;
      char buffer[1 << 16];
      const ssize_t n = read(p.fd, buffer, sizeof buffer);
      std::string& text = &p == pipes ? run.out : run.err;
      if (n > 0) {
        text.append(buffer, size_t(n));
      } else {
        p.fd = -1;  // poll() passes over negative ones
      }
    }
    const int number = options.signal_on && !sent ? options.signal_on(run.err) : 0;
    if (number != 0) {
      kill(child, number);
      sent = true;
    }
    if (options.kill_after_s > 0 && !killed && std::chrono::steady_clock::now() > kill_time) {
      kill(child, SIGKILL);
      killed = true;
    }
    if (!timed_out && std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      timed_out = true;
    }
  }
  close(out[0]);
  close(err[0]);
  int status = 0;
  rusage use = {};
  wait4(child, &status, 0, &use);
  run.peak_bytes = int64_t{use.ru_maxrss} * 1024;
  if (timed_out) throw std::runtime_error("timeout: " + args[0] + "\n" + run.err);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

}  // namespace lora::test
