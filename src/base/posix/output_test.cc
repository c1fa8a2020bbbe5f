// Where outputs go through links, who may write them, what killed writers leave.
#include "base/output.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "base/output_test_util.h"
#include "base/same_file.h"

namespace lora {
namespace posix_output_test {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kStale = ".0123456789abcdef.tmp";

class PosixOutputs : public Outputs {
 protected:
  static mode_t mode_of(const std::string& path) {
    struct stat st;
    return ::lstat(path.c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
  }
  // Another process that does it, says so and waits to be killed.
  template <class Work>
  static pid_t start(const Work& work) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        work([&] {
          [[maybe_unused]] const ssize_t n = ::write(ready[1], "", 1);
          for (;;) ::pause();
        });
      } catch (...) {
      }
      ::_exit(1);
    }
    ::close(ready[1]);
    char byte;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "the other process failed";
    ::close(ready[0]);
    return child;
  }
  static int end(pid_t child) {
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  }
};

TEST_F(PosixOutputs, AreWrittenThroughLinksWhichStay) {
  put("file", "old");
  fs::create_directories(folder + "sub");
  fs::create_symlink("../link2", folder + "sub/link");
  fs::create_symlink("file", folder + "link2");
  fs::create_symlink("nothing", folder + "dangling");
  write(folder + "sub/link", "new");
  write(folder + "dangling", "made");
  AppendFile(folder + "link2", [](auto) { return false; }).write_line("line");
  EXPECT_EQ(text("file"), "line\n");
  EXPECT_EQ(text("nothing"), "made");
  for (const char* link : {"sub/link", "link2", "dangling"})
    EXPECT_TRUE(fs::is_symlink(folder + link)) << link;
  EXPECT_EQ(names(), (Names{"file", "sub", "link2", "nothing", "dangling"}));
  fs::create_symlink("loop", folder + "loop");
  EXPECT_THAT(error_of([&] { Hold(folder + "loop"); }), HasSubstr("loop: cannot write: "));
}

TEST_F(PosixOutputs, KeepTheModeOfWhatTheyReplace) {
  const mode_t mask = ::umask(022);
  write(out, "new");
  EXPECT_EQ(mode_of(out), mode_t{0644});
  for (const mode_t mode : {0600, 0640, 0666, 0755}) {
    ::chmod(out.c_str(), mode);
    {
      AtomicFile file(out);
      for (const std::string& name : names()) {
        if (name.ends_with(".lora-lock")) continue;
        EXPECT_EQ(mode_of(folder + name), mode) << name;
      }
      file.commit();
    }
    EXPECT_EQ(mode_of(out), mode);
  }
  ::umask(mask);
}

TEST_F(PosixOutputs, ReplaceNothingThatIsWriteProtected) {
  put("out", "old");
  ::chmod(out.c_str(), 0444);
  ::chmod(folder.c_str(), 0777);
  const auto expect_refused = [&] {
    return error_of([&] { Hold{out}; }).find("the file is write-protected") != std::string::npos;
  };
  if (::geteuid() != 0) {
    EXPECT_TRUE(expect_refused());
    return;
  }
  const pid_t child = ::fork();  // nothing is protected from root
  if (child == 0) ::_exit(::setuid(65534) == 0 && expect_refused() ? 0 : 1);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(PosixOutputs, AreRegularFiles) {
  ::mkfifo((folder + "fifo").c_str(), 0666);
  fs::create_symlink("fifo", folder + "link");
  fs::create_directories(folder + "sub");
  const Names before = names();
  for (const std::string& path :
       {folder + "fifo", folder + "link", folder + "sub", std::string("/dev/null"), std::string("/dev/full"),
        folder + "fifo/x", folder + std::string(256, 'x')}) {
    EXPECT_THAT(error_of([&] { Hold{path}; }), HasSubstr(path + ": cannot write: "));
    EXPECT_THAT(error_of([&] { AtomicFile{path}; }), HasSubstr(path + ": cannot write: "));
    EXPECT_THAT(error_of([&] { AppendFile(path, [](auto) { return true; }); }),
                HasSubstr(path + ": cannot write: "));
  }
  EXPECT_THAT(error_of([&] { Hold{folder + "none/x"}; }), HasSubstr("none/x: cannot create: No such file"));
  EXPECT_EQ(names(), before);
}

TEST_F(PosixOutputs, WhatAKilledWriterLeftIsRemovedAndNothingElse) {
  const pid_t child = start([&](const auto& ready) {
    AtomicFile file(out);
    file.write(std::string(size_t{3} << 20, 'x'));
    ready();
  });
  end(child);
  EXPECT_EQ(names().size(), 2u);
  put("out" + kStale, "left");
  const Names others = {"out.tmp",     "out.0123.tmp",  "out.0123456789ABCDEF.tmp",
                        "ou" + kStale, "out2" + kStale, "out.x" + kStale,
                        kStale};
  for (const std::string& name : others) put(name, "other");
  put("victim", "victim");
  fs::create_symlink("victim", folder + "out.1111111111111111.tmp");
  fs::create_hard_link(folder + "victim", folder + "out.2222222222222222.tmp");
  fs::create_directories(folder + "out.3333333333333333.tmp");
  write(out, "new");
  Names expected = others;
  expected.insert(
      {"out", "victim", "out.1111111111111111.tmp", "out.2222222222222222.tmp", "out.3333333333333333.tmp"});
  EXPECT_EQ(names(), expected);
  EXPECT_EQ(text("victim"), "victim");
  EXPECT_EQ(text("out"), "new");
}

TEST_F(PosixOutputs, TheSecondProcessIsToldWhoWrites) {
  put("out", "old");
  fs::create_symlink("out", folder + "link");
  for (const bool writes : {false, true}) {
    const pid_t child = start([&](const auto& ready) {
      if (!writes) {
        const Hold hold(out);
        ready();
      }
      AtomicFile file(folder + "link");
      file.write("first");
      ready();
    });
    const Names before = names();
    const std::string who = "cannot write: process " + std::to_string(child) + " writes it";
    for (const std::string& path : {out, folder + "link", folder + "./out"}) {
      EXPECT_THAT(error_of([&] { AtomicFile{path}; }), HasSubstr(path + ": " + who));
      EXPECT_THAT(error_of([&] { Hold{path}; }), HasSubstr(path + ": " + who));
    }
    EXPECT_EQ(names(), before);
    EXPECT_NO_THROW(Hold(folder + "other"));
    end(child);
    EXPECT_EQ(text("out"), "old");
  }
  write(out, "new");
  EXPECT_EQ(names(), (Names{"out", "link"}));
}

// Whoever writes makes a file that must not be there yet.
TEST_F(PosixOutputs, OfManyProcessesOneWritesAtATime) {
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    const pid_t child = ::fork();
    if (child != 0) {
      children.push_back(child);
      continue;
    }
    int n = 0;
    for (int tries = 0; n < 30 && tries < 100000; ++tries) {
      try {
        AtomicFile file(out);
        const int inside = ::open((folder + "inside").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0666);
        if (inside < 0) ::_exit(1);
        file.write(std::string(1000, char('a' + i)));
        ::close(inside);
        ::unlink((folder + "inside").c_str());
        file.commit();
        ++n;
      } catch (const Error& e) {
        if (std::string(e.what()).find(" writes it") == std::string::npos) {
          std::fprintf(stderr, "%s\n", e.what());
          ::_exit(2);
        }
        ::usleep(200);
      }
    }
    ::_exit(n > 0 ? 0 : 3);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 0) << "1: two at once, 2: another error, 3: never its turn";
  }
  const std::string whole = text("out");
  EXPECT_EQ(whole, std::string(1000, whole.empty() ? ' ' : whole[0]));
  EXPECT_EQ(names(), Names{"out"});
}

TEST_F(PosixOutputs, AFileThatIsNoLockIsLeftAlone) {
  const std::string lock = out + ".lora-lock";
  const std::pair<const char*, std::function<void()>> plants[] = {
      {"a link", [&] { fs::create_symlink(folder + "victim", lock); }},
      {"a link to nothing", [&] { fs::create_symlink(folder + "nothing", lock); }},
      {"a hard link", [&] { fs::create_hard_link(folder + "victim", lock); }},
      {"a hard link to a text like a lock's", [&] { fs::create_hard_link(folder + "like", lock); }},
      {"many zeros", [&] { std::ofstream(lock) << std::string(4096, '\0'); }},
      {"a text", [&] { std::ofstream(lock) << "something of mine"; }},
      {"a FIFO", [&] { ::mkfifo(lock.c_str(), 0666); }},
      {"a folder", [&] { fs::create_directories(lock); }},
  };
  for (const auto& [what, plant] : plants) {
    put("victim", "precious");
    put("like", "1 0123456789abcdef\n");
    plant();
    const Names before = names();
    EXPECT_THAT(error_of([&] { AtomicFile{out}; }), HasSubstr("out.lora-lock is in the way")) << what;
    EXPECT_EQ(names(), before) << what;
    EXPECT_EQ(text("victim"), "precious") << what;
    EXPECT_EQ(text("like"), "1 0123456789abcdef\n") << what;
    fs::remove_all(lock);
  }
}

// The exit status of a process that does the work where a system call always fails: 0, 1 for an Error, 77 if
// calls cannot be filtered here.
int status_without(uint32_t call, uint32_t failure, const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | failure),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {4, code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
      ::_exit(77);
    try {
      work();
    } catch (const Error&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// What a group may do stays that group's: the new file's other one is not given it.
TEST_F(PosixOutputs, WithoutTheGroupOfWhatTheyReplaceNoGroupReadsThem) {
  put("out", "old");
  if (::chown(out.c_str(), uid_t(-1), 12345) != 0) GTEST_SKIP() << "files have no other group here";
  ::chmod(out.c_str(), 0664);
  const int status = status_without(__NR_fchown, EPERM, [&] { write(out, "new"); });
  if (status == 77) GTEST_SKIP() << "system calls cannot be filtered here";
  EXPECT_EQ(status, 0);
  EXPECT_EQ(text("out"), "new");
  EXPECT_EQ(mode_of(out), mode_t{0604});
}

// A file system without locks, as the system calls show it.
TEST_F(PosixOutputs, WithoutLocksTheWorkGoesOnAndSaysSo) {
  put("out" + kStale, "perhaps another's");
  const int status = status_without(__NR_flock, ENOLCK, [&] {
    Hold hold = hold_new(out, {}, [&](std::string_view line) { put("said", std::string(line)); });
    write(out, "new");
  });
  if (status == 77) GTEST_SKIP() << "system calls cannot be filtered here";
  EXPECT_EQ(status, 0);
  EXPECT_EQ(text("out"), "new");
  EXPECT_THAT(text("said"),
              HasSubstr("out: No locks available, so another process that writes it is not noticed"));
  EXPECT_EQ(names(), (Names{"out", "said", "out" + kStale}));
}

}  // namespace posix_output_test
}  // namespace lora
