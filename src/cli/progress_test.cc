#include "cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "base/process.h"

namespace lora::cli {
namespace progress_test {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(FormatDuration, IsHoursMinutesSeconds) {
  EXPECT_EQ(format_duration(1457), "00:24:17");
  EXPECT_EQ(format_duration(101 * 86400.0), "2424:00:00");
}

TEST(FormatDuration, ShowsMillisecondsBelowAMinute) {
  EXPECT_EQ(format_duration(0.1234), "00:00:00.123");
  EXPECT_EQ(format_duration(59.9999), "00:01:00");
}

TEST(FormatDuration, ShowsNoNumberForNone) {
  EXPECT_EQ(format_duration(-1), "--:--:--");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "--:--:--");
}

IterationRecord record() {
  IterationRecord r;
  r.iter = 1;
  r.epoch = 0.25;
  r.sched = 0.01;
  r.loss = 3.45729;
  r.dt_s = 1457;
  r.eta_s = 42273;
  r.tok_per_s = 4;
  r.rss_bytes = 3u << 30;
  return r;
}

TEST(ProgressLine, HasTheDocumentedShape) {
  EXPECT_EQ(progress_line(record()),
            "iter=     1 sched=0.010000 loss=3.457290 dt=00:24:17 eta=11:44:33 tok/s=4.0");
}

TEST(ProgressLine, ShowsTheHeldOutLossWhereThereIsOne) {
  IterationRecord r = record();
  r.val_loss = 2;
  EXPECT_THAT(progress_line(r), EndsWith(" val_loss=2.000000"));
}

TEST(ProgressBar, LeavesOutWhatANarrowWindowCannotHold) {
  const auto bar = [](int columns) { return progress_bar(record(), 4, 3.5, 1457, columns); };
  EXPECT_EQ(bar(79), "[==        ] 1/4 epoch 0.25 loss 3.5000 4.0 tok/s 00:24:17 ETA 11:44:33");
  EXPECT_EQ(bar(60), "[==        ] 1/4 epoch 0.25 loss 3.5000 ETA 11:44:33");
  EXPECT_EQ(bar(40), "[==        ] 1/4 ETA 11:44:33");
}

TEST(ProgressBar, ShowsHowFarTheRunIs) {
  const std::string bar = progress_bar(record(), 4, 3.5, 1457, 200);
  EXPECT_EQ(bar, "[==        ] 1/4 epoch 0.25 loss 3.5000 4.0 tok/s 00:24:17 ETA 11:44:33 3.00 GiB");
}

TEST(ProgressBar, StaysInsideTheTerminal) {
  for (int columns : {1, 10, 40, 80})
    EXPECT_LE(progress_bar(record(), 4, 3.5, 1, columns).size(), size_t(columns));
}

TEST(SmoothedLoss, BeginsAtTheFirstAndFollowsSlowly) {
  SmoothedLoss loss;
  EXPECT_DOUBLE_EQ(loss.add(4), 4);
  const double second = loss.add(2);
  EXPECT_GT(second, 2.8);
  EXPECT_LT(second, 4);
}

// What Progress prints in `work`, which may change the window's width.
std::string printed(bool is_terminal, int columns, const std::function<void(Progress&, int& columns)>& work) {
  const std::string path = testing::TempDir() + "lora_progress_" + std::to_string(process_id());
  std::FILE* out = std::fopen(path.c_str(), "wb");
  {
    Progress progress(out, is_terminal, [&] { return columns; });
    work(progress, columns);
  }
  std::fclose(out);
  std::ifstream in(path, std::ios::binary);
  const std::string result(std::istreambuf_iterator<char>(in), {});
  in.close();
  std::remove(path.c_str());
  return result;
}

// One message before, two iterations, and one message between them.
std::string printed(bool is_terminal) {
  return printed(is_terminal, 200, [](Progress& progress, int&) {
    progress.say("begin");
    progress.iteration(record(), 4);
    progress.say("saved");
    progress.iteration(record(), 4);
  });
}

TEST(Progress, PrintsPlainLinesIntoAPipe) {
  const std::string line = progress_line(record()) + "\n";
  EXPECT_EQ(printed(false), "begin\n" + line + "saved\n" + line);
}

TEST(Progress, RedrawsOneBarOnATerminalAndKeepsMessages) {
  const std::string text = printed(true);
  EXPECT_THAT(text, HasSubstr("begin\n"));
  EXPECT_THAT(text, HasSubstr("\r\x1b[Ksaved\n["));
  EXPECT_THAT(text, EndsWith("GiB\n"));
  EXPECT_THAT(text, Not(HasSubstr("iter=")));
}

TEST(Progress, BreaksMessagesAtWordsOnATerminalAlone) {
  const std::string message = "warning: a message of more than thirty columns";
  const auto say = [&](Progress& progress, int&) { progress.say(message); };
  EXPECT_EQ(printed(true, 30, say), "warning: a message of more\n  than thirty columns\n");
  EXPECT_EQ(printed(false, 30, say), message + "\n");
}

// The bar of 71 letters takes three rows of 30 columns, the cursor is in the last.
TEST(Progress, AfterAResizeTheBarIsDrawnAnewAndNothingOfTheOldOneIsLeft) {
  const std::string wide = progress_bar(record(), 4, record().loss, 1457, 80);
  ASSERT_EQ(wide.size(), 71u);
  const std::string narrow = progress_bar(record(), 4, record().loss, 1457, 30);
  EXPECT_LT(narrow.size(), 30u);
  EXPECT_EQ(printed(true, 80,
                    [](Progress& progress, int& columns) {
                      progress.iteration(record(), 4);
                      progress.follow_resize();  // nothing to do
                      columns = 30;
                      progress.follow_resize();
                      columns = 80;
                      progress.follow_resize();
                    }),
            wide + "\r\x1b[2A\x1b[J" + narrow + "\r\x1b[K" + wide + "\n");
  EXPECT_EQ(printed(true, 80,
                    [](Progress& progress, int& columns) {
                      progress.iteration(record(), 4);
                      columns = 30;
                      progress.say("saved");
                    }),
            wide + "\r\x1b[2A\x1b[Jsaved\n" + narrow + "\n");
}

TEST(Progress, AnEvaluationHasABarInPlaceOfTheOther) {
  const std::string bar = progress_bar(record(), 4, record().loss, 1457, 80);
  EXPECT_EQ(printed(true, 80,
                    [](Progress& progress, int&) {
                      progress.evaluation(0, 80);
                      progress.evaluation(80, 80);
                      progress.say("before");
                      progress.iteration(record(), 4);
                      progress.evaluation(12, 80);
                      progress.say("saved");
                      progress.evaluation(80, 80);
                    }),
            "[          ] evaluating 0/80 \r\x1b[Kbefore\n" + bar + "\r\x1b[K[=         ] evaluating 12/80 " +
                "\r\x1b[Ksaved\n[=         ] evaluating 12/80 \r\x1b[K" + bar + "\n");
}

TEST(Progress, IntoAPipeALongEvaluationSaysNowAndThenHowFarItIs) {
  const auto evaluate = [](double line_s) {
    return printed(false, 80, [&](Progress& progress, int&) {
      progress.evaluation_line_s = line_s;
      for (const int done : {0, 40, 60, 80}) progress.evaluation(done, 80);
    });
  };
  EXPECT_EQ(evaluate(10), "");
  EXPECT_EQ(evaluate(0), "evaluating 40/80\nevaluating 60/80\n");
}

}  // namespace progress_test
}  // namespace lora::cli
