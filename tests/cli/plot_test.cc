// `lora plot`: what the picture says of runs, and what it refuses.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <regex>

#include "base/regex_test_util.h"
#include "cli_test.h"
#include "tiny_models.h"

namespace lora::test {
namespace plot_test {

using Args = std::vector<std::string>;
using testing::HasSubstr;
using testing::Not;

struct Iteration {
  int iter;
  double loss;
  std::optional<double> val_loss{};
};

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "null";
}

// A line as `lora finetune --metrics` writes it; `more` has further fields: ,"val_loss_before":3.5
std::string line_of(const Iteration& i, const std::string& more = "") {
  return fmt::format(
      R"({{"iter":{},"epoch":{},"sample":{},"loss":{},"lr":0.001,"sched":1,"grad_norm":{},"tokens":500,"dt_s":1800,)"
      R"("tok_per_s":250,"eta_s":1,"rss_bytes":1{}{}}})"
      "\n",
      i.iter, 0.25 * i.iter, 2 * i.iter, number(i.loss), number(1 + 1.0 / i.iter),
      i.val_loss ? ",\"val_loss\":" + number(*i.val_loss) : "", more);
}

// Losses fall from 3 to 2; every fifth iteration is evaluated, and the tenth is best.
std::string run_of(int n, int first = 1, double add = 0) {
  std::string text;
  for (int i = first; i <= n; ++i) {
    Iteration iteration{i, 2 + 1.0 / i + add};
    if (i % 5 == 0) iteration.val_loss = 2.2 + 0.01 * std::abs(i - 10) + add;
    text += line_of(iteration);
  }
  return text;
}

// "" if it is well-formed XML as far as this program's pictures go: tags that match, no stray < or &.
std::string fault_of_xml(const std::string& xml) {
  static const std::regex kPart(R"re(<(/?)([A-Za-z]+)((?: [-a-zA-Z:]+="[^"<]*")*)(/?)>|([^<]+))re");
  static const std::regex kStray("&(?!(amp|lt|gt|quot);)");
  std::vector<std::string> open;
  size_t at = 0;
  for (std::sregex_iterator i(xml.begin(), xml.end(), kPart), end; i != end; ++i) {
    if (size_t(i->position()) != at) break;
    at += size_t(i->length());
    if (std::regex_search(i->str(), kStray)) return "stray & in " + i->str();
    if ((*i)[2].length() == 0) continue;
    if ((*i)[1].length() == 0) {
      if ((*i)[4].length() == 0) open.push_back((*i)[2]);
    } else if (open.empty() || open.back() != (*i)[2]) {
      return "unmatched " + i->str();
    } else {
      open.pop_back();
    }
  }
  if (at != xml.size()) return "no XML from " + xml.substr(at, 60);
  return open.empty() ? "" : "open " + open.back();
}

class Plot : public testing::Test {
 protected:
  Folder folder;
  // The picture of the metrics with these flags; what was said must be empty unless `said` is given.
  std::string svg(const Args& metrics, const Args& flags = {}, std::string* said = nullptr) const {
    const RunResult run = folder.lora(Args{"plot"} + metrics + Args{"-o", "o.svg"} + flags);
    EXPECT_EQ(run.status, 0) << run.err;
    if (said) {
      *said = run.err;
    } else {
      EXPECT_EQ(run.err, "");
    }
    const std::string picture = folder.read("o.svg");
    EXPECT_EQ(fault_of_xml(picture), "");
    for (const char* word : {"nan", "inf", "-0\""}) EXPECT_THAT(picture, Not(HasSubstr(word)));
    return picture;
  }
};

TEST_F(Plot, DrawsWhatFinetuneWrites) {
  folder.write("text.txt", ship_sentences());
  const RunResult run =
      folder.lora(kFinetune + Args{"--checkpoint-out", "", "--lora-out", "", "--metrics", "m.jsonl",
                                   "--adam-iter", "10", "--val-split", "0.2", "--eval-every", "5"});
  ASSERT_EQ(run.status, 0) << run.err;
  // No name of Windows has < or >.
  const std::string name = is_posix() ? "other <&run>" : "other &run",
                    written = is_posix() ? ">other &lt;&amp;run&gt; (" : ">other &amp;run (";
  folder.write(name + ".jsonl",
               folder.read("m.jsonl") + R"({"iter":11,"lo)");  // a run that is being written
  for (const char* x : {"iterations", "epochs", "tokens", "hours"}) {
    const std::string picture = svg({"m.jsonl", name + ".jsonl"}, {"--x", x});
    EXPECT_THAT(picture, HasSubstr(written)) << x;
    for (const char* text :
         {">m (", ">held-out loss<", ">learning rate<", ">gradient norm<", ">speed (tokens per second)<"})
      EXPECT_THAT(picture, HasSubstr(text)) << x;
  }
}

TEST_F(Plot, NamesStartBestAndEnd) {
  folder.write("m.jsonl", run_of(40));
  std::string picture = svg({"m.jsonl"});
  EXPECT_THAT(picture, HasSubstr(">start 3.000<"));  // of the first iteration
  EXPECT_THAT(picture, HasSubstr(">best 2.200 at iteration 10<"));
  EXPECT_THAT(picture, HasSubstr("class=\"end\">2.500<"));  // the last held-out loss
  EXPECT_THAT(picture, HasSubstr(">m<"));
  EXPECT_THAT(picture, HasSubstr("m: start 3.000, best 2.200 at iteration 10, last 2.025."));
  folder.write("m.jsonl", line_of({1, 3}, ",\"val_loss_before\":3.456") + run_of(40, 2));
  picture = svg({"m.jsonl"});
  EXPECT_THAT(picture, HasSubstr(">start 3.456<"));
  folder.write("m.jsonl", line_of({1, 3, 3.6}, ",\"val_loss_before\":2.1") + run_of(40, 2));
  EXPECT_THAT(svg({"m.jsonl"}), HasSubstr(">start and best 2.100<"));
  folder.write("m.jsonl", line_of({1, 3}) + line_of({2, 2.5}));
  picture = svg({"m.jsonl"});
  EXPECT_THAT(picture, Not(HasSubstr("best")));
  EXPECT_THAT(picture, Not(HasSubstr("held-out")));
  EXPECT_THAT(picture, HasSubstr(">start 3.000<"));
}

TEST_F(Plot, OfSeveralRunsTheLegendHasTheNumbers) {
  folder.write("a.jsonl", run_of(40));
  folder.write("b.jsonl", run_of(40, 1, 0.5));
  const std::string picture = svg({"a.jsonl", "b.jsonl"}, {"--title", "Two & two"});
  EXPECT_THAT(picture, HasSubstr(">a (start 3.000, best 2.200)<"));
  EXPECT_THAT(picture, HasSubstr(">b (start 3.500, best 2.700)<"));
  EXPECT_THAT(picture, HasSubstr("class=\"title\">Two &amp; two<"));
  std::filesystem::create_directory(folder.at("c"));
  folder.write("c/a.jsonl", run_of(40));
  EXPECT_THAT(svg({"a.jsonl", "c/a.jsonl"}), HasSubstr(">c/a.jsonl (best 2.200)<"));
}

TEST_F(Plot, TheAxisBelowCountsWhatIsAsked) {
  folder.write("m.jsonl", run_of(40));
  EXPECT_THAT(svg({"m.jsonl"}), HasSubstr(">iteration<"));
  const std::string tokens = svg({"m.jsonl"}, {"--x", "tokens"});
  EXPECT_THAT(tokens, HasSubstr(">tokens trained on<"));
  EXPECT_THAT(tokens, HasSubstr(">20k<"));  // 40 x 500
  EXPECT_THAT(tokens, HasSubstr("at iteration 10<"));
  const std::string hours = svg({"m.jsonl"}, {"--x", "hours"});
  EXPECT_THAT(hours, HasSubstr(">hours of training<"));
  EXPECT_THAT(hours, HasSubstr(">20<"));  // 40 x 1800 s
  folder.write("short.jsonl", line_of({1, 3}));
  EXPECT_THAT(svg({"short.jsonl"}, {"--x", "hours"}), HasSubstr(">minutes of training<"));
  const std::string epochs = svg({"m.jsonl"}, {"--x", "epochs"});
  EXPECT_THAT(epochs, HasSubstr(">epochs<"));
  EXPECT_THAT(epochs, HasSubstr(">10<"));
  EXPECT_THAT(epochs, Not(HasSubstr(">20<")));
  folder.write("later.jsonl", run_of(40, 31));
  std::string said;
  svg({"later.jsonl"}, {"--x", "tokens"}, &said);
  EXPECT_EQ(said, "warning: later.jsonl: begins at iteration 31: its tokens are counted from there\n");
  folder.write("bare.jsonl", "{\"iter\":1,\"loss\":3}\n");
  expect_error(folder.lora({"plot", "bare.jsonl", "-o", "x.svg", "--x", "hours"}), 1,
               "bare.jsonl: iteration 1: no number 'dt_s' in it, which this --x wants");
}

TEST_F(Plot, ALogarithmicAxisWhereLossesDifferMuch) {
  folder.write("m.jsonl", run_of(40));
  EXPECT_THAT(svg({"m.jsonl"}), Not(HasSubstr("log scale")));
  EXPECT_THAT(svg({"m.jsonl"}, {"--y", "log"}), HasSubstr(">loss (nats per token), log scale<"));
  EXPECT_THAT(svg({"m.jsonl"}, {"--y", "log"}), HasSubstr(">gradient norm, log scale<"));
  std::string falling;
  for (int i = 1; i <= 30; ++i) falling += line_of({i, 5 * std::exp(-0.2 * i)});
  folder.write("f.jsonl", falling);
  EXPECT_THAT(svg({"f.jsonl"}), HasSubstr(">loss (nats per token), log scale<"));
  EXPECT_THAT(svg({"f.jsonl"}, {"--y", "linear"}), Not(HasSubstr("log scale")));
  folder.write("z.jsonl", line_of({1, 4}) + line_of({2, 0}) + line_of({3, 1}));
  std::string said;
  svg({"z.jsonl"}, {"--y", "log"}, &said);
  EXPECT_EQ(said,
            "warning: loss (nats per token): points not above 0, which a logarithmic axis has no place for, "
            "are left out: 1\n");
}

TEST_F(Plot, SmoothsByTheWindowThatIsAsked) {
  std::string text;
  for (int i = 1; i <= 100; ++i) text += line_of({i, i % 2 ? 3.0 : 2.0});
  folder.write("m.jsonl", text);
  EXPECT_THAT(svg({"m.jsonl"}), HasSubstr("training loss, smoothed"));
  EXPECT_THAT(svg({"m.jsonl"}), HasSubstr("class=\"faint\""));
  const std::string raw = svg({"m.jsonl"}, {"--smooth", "0"});
  EXPECT_THAT(raw, Not(HasSubstr("smoothed")));
  EXPECT_THAT(raw, Not(HasSubstr("class=\"faint\"")));
  EXPECT_THAT(raw, HasSubstr("class=\"end\">2.000<"));
  EXPECT_THAT(svg({"m.jsonl"}, {"--smooth", "50"}), contains_regex("class=\"end\">2.4[78]"));
  expect_error(folder.lora({"plot", "m.jsonl", "-o", "x.svg", "--smooth", "0.9"}), 2, "--smooth");
}

// A spike, a run that diverged, numbers that no run has, one that differ by rounding alone.
TEST_F(Plot, WhatDoesNotFitIsSaid) {
  std::string text;
  for (int i = 1; i <= 200; ++i) text += line_of({i, i == 120 ? 71.5 : 2 + 0.1 * (i % 5)});
  folder.write("spike.jsonl", text);
  EXPECT_THAT(svg({"spike.jsonl"}), HasSubstr(">up to 71.50<"));
  folder.write("gap.jsonl", line_of({1, 3}) + line_of({2, NAN}) + line_of({3, 2.5, NAN}) + line_of({4, 2}));
  std::string said;
  svg({"gap.jsonl"}, {}, &said);
  EXPECT_EQ(said,
            "warning: gap.jsonl: 'loss' is no finite number in 1 of 4 iterations, left out\n"
            "warning: gap.jsonl: 'val_loss' is no finite number in 1 evaluation, left out\n");
  folder.write("none.jsonl", line_of({1, NAN}));
  expect_error(folder.lora({"plot", "none.jsonl", "-o", "x.svg"}), 1,
               "none.jsonl: the loss is no finite number in any line");
  folder.write("bare.jsonl", "{\"iter\":1,\"loss\":3}\n{\"iter\":2,\"loss\":2}\n");
  svg({"bare.jsonl"}, {}, &said);
  for (const char* key : {"lr", "grad_norm", "tok_per_s"})
    EXPECT_THAT(said, HasSubstr(fmt::format(
                          "warning: bare.jsonl: '{}' is no finite number in 2 of 2 iterations, ", key)));
  for (const double loss : {6.23832463, 1.1, 0.0, 1e308, -1e308, 1e-300}) {
    std::string same;
    for (int i = 1; i <= 30; ++i) same += line_of({i, loss});
    folder.write("same.jsonl", same);
    for (const char* y : {"auto", "linear", "log"}) svg({"same.jsonl", "spike.jsonl"}, {"--y", y}, &said);
  }
}

TEST_F(Plot, WhatIsNoMetricsIsRefused) {
  const std::string good = run_of(10);
  for (const auto& [text, error] :
       {std::pair{good + "{\"iter\":11}\n", "m.jsonl: line 11: expected a JSON object with a number 'loss'"},
        {good + "[]\n", "m.jsonl: line 11: expected a JSON object with a number 'iter'"},
        {good + "\n", "m.jsonl: line 11: expected a JSON object"},
        {good + std::string(100000, '[') + "\n", "m.jsonl: line 11: expected a JSON object"},
        {good + "{\"iter\":11,\"loss\":1e999}\n", "m.jsonl: line 11: expected a JSON object"},
        {good + "{\"iter\":11,\"loss\":NaN}\n", "m.jsonl: line 11: expected a JSON object"},
        {good + "{\"iter\":11,\"loss\":1,\"lr\":\"x\"}\n",
         "m.jsonl: line 11: expected a JSON object with a number 'lr'"},
        {good + good, "m.jsonl: line 11: iteration 1 does not follow on the one before"},
        {std::string(), "m.jsonl: no line of metrics in it"},
        {std::string("{\"iter\":1"), "m.jsonl: no line of metrics in it"}}) {
    folder.write("m.jsonl", text);
    expect_error(folder.lora({"plot", "m.jsonl", "-o", "x.svg"}), 1, error);
    EXPECT_FALSE(folder.has("x.svg"));
  }
  folder.write("m.jsonl", good);
  expect_error(folder.lora({"plot", "m.jsonl", "-o", "x.pdf"}), 2,
               "--output: x.pdf: a picture is an SVG or a PNG file, so its name ends in .svg or .png");
  Args many = {"plot", "-o", "x.svg"};
  for (int i = 0; i < 22; ++i) {
    folder.write(fmt::format("{}.jsonl", i), good);
    many.push_back(fmt::format("{}.jsonl", i));
  }
  expect_error(folder.lora(many), 1, "22 runs: a picture has colors for 21 at most: draw fewer");
  many.pop_back();
  EXPECT_EQ(folder.lora(many).status, 0);
}

TEST_F(Plot, ColorsFollowTheViewerOrTheFlag) {
  folder.write("m.jsonl", run_of(40));
  EXPECT_THAT(svg({"m.jsonl"}), HasSubstr("@media (prefers-color-scheme:dark)"));
  EXPECT_THAT(svg({"m.jsonl"}, {"--theme", "light"}), Not(HasSubstr("@media")));
  EXPECT_NE(svg({"m.jsonl"}, {"--theme", "dark"}), svg({"m.jsonl"}, {"--theme", "light"}));
}

TEST_F(Plot, WritesPngWhereItCan) {
  folder.write("m <&>.jsonl", run_of(40));
  const RunResult run = folder.lora({"plot", "m <&>.jsonl", "-o", "o.png"});
#if LORA_RSVG
  ASSERT_EQ(run.status, 0) << run.err;
  const std::string png = folder.read("o.png");
  EXPECT_THAT(png, testing::StartsWith("\x89PNG\r\n\x1a\n"));
  EXPECT_EQ(png.substr(16, 4), std::string("\0\0\x07\x80", 4));  // 1920 wide
  EXPECT_GT(png.size(), 20000u);
  ASSERT_EQ(folder.lora({"plot", "m <&>.jsonl", "-o", "dark.png", "--theme", "dark"}).status, 0);
  EXPECT_NE(folder.read("dark.png"), png);
#else
  expect_error(run, 2, "--output: o.png: this program was built without librsvg");
  EXPECT_THAT(run.err, HasSubstr("or name the picture .svg"));
  EXPECT_FALSE(folder.has("o.png"));
#endif
}

}  // namespace plot_test
}  // namespace lora::test
