#include "cli/chart.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

namespace lora::cli {
namespace chart_test {

using testing::HasSubstr;
using testing::Not;

struct Word {
  double x, y;
  std::string anchor, classes, text;
};

std::vector<Word> words_of(const std::string& svg) {
  static const std::regex kText(
      R"re(<text x="([-0-9.]+)" y="([-0-9.]+)" text-anchor="(\w+)"(?: class="([^"]*)")?>([^<]*)</text>)re");
  std::vector<Word> words;
  for (std::sregex_iterator i(svg.begin(), svg.end(), kText), end; i != end; ++i)
    words.push_back({std::stod((*i)[1]), std::stod((*i)[2]), (*i)[3], (*i)[4], (*i)[5]});
  return words;
}

std::vector<Word> words_of_class(const std::string& svg, const std::string& wanted) {
  std::vector<Word> words = words_of(svg);
  std::erase_if(words, [&](const Word& word) { return word.classes != wanted; });
  return words;
}

Line line_to(double last, size_t hue, Stroke stroke = Stroke::strong) {
  Line line{{}, hue, stroke, true};
  for (int i = 0; i <= 100; ++i) line.points.emplace_back(i, last + 2.0 / (1 + i) - 2.0 / 101);
  return line;
}

Chart chart_of(std::vector<Line> lines, std::vector<Mark> marks = {}) {
  Chart chart;
  chart.x_title = "iteration";
  chart.panels = {{"loss", 320, ValueAxis::linear, std::move(lines), std::move(marks)}};
  return chart;
}

TEST(Chart, ValuesAtTheEndsDoNotOverlap) {
  std::vector<Line> lines;
  for (int i = 0; i < 12; ++i) lines.push_back(line_to(2 + 0.001 * i, size_t(i)));
  const auto ends = words_of_class(draw(chart_of(lines)).svg, "end");
  ASSERT_EQ(ends.size(), 12u);
  for (size_t i = 1; i < ends.size(); ++i) EXPECT_GE(ends[i].y - ends[i - 1].y, 15.9) << ends[i].text;
  for (size_t i = 0; i < ends.size(); ++i)
    EXPECT_EQ(ends[i].text, fmt::format("{:.3f}", 2.011 - 0.001 * double(i)));
  EXPECT_LT(ends.back().y, draw(chart_of(lines)).height - 40);
}

TEST(Chart, EndsThatAreTheSameAreNamedOnce) {
  const auto ends = words_of_class(draw(chart_of({line_to(2, 0), line_to(2, 1), line_to(3, 2)})).svg, "end");
  ASSERT_EQ(ends.size(), 2u);
  EXPECT_EQ(ends[0].text, "3.000");
  EXPECT_EQ(ends[1].text, "2.000");
}

TEST(Chart, WordsOfMarksStayApartAndInside) {
  std::vector<Mark> marks;
  for (const double x : {0.0, 1.0, 2.0, 50.0, 99.0, 100.0})
    marks.push_back({x, 2.1, 0, fmt::format("best at {}", x)});
  const Picture picture = draw(chart_of({line_to(2, 0)}, marks));
  const auto words = words_of_class(picture.svg, "small halo");
  ASSERT_EQ(words.size(), marks.size());
  for (size_t i = 0; i < words.size(); ++i) {
    const double width = 6 * double(words[i].text.size());  // at least
    EXPECT_GE(words[i].x, 50);
    EXPECT_LE(words[i].x + width, picture.width);
    for (size_t k = 0; k < i; ++k) {
      const bool apart = std::abs(words[i].y - words[k].y) >= 12 || words[i].x + width <= words[k].x ||
                         words[k].x + 6 * double(words[k].text.size()) <= words[i].x;
      EXPECT_TRUE(apart) << words[i].text << " lies on " << words[k].text;
    }
  }
}

TEST(Chart, AFewFaintValuesFarOffAreCutAndNamed) {
  Line faint = line_to(2, 0, Stroke::faint);
  faint.points[40].second = 71.5;
  Panel panel{"loss", 320, ValueAxis::linear, {faint, line_to(2, 0)}, {}};
  const auto [low, high] = values_to_show(panel);
  EXPECT_NEAR(low, 2, 0.01);
  EXPECT_LT(high, 5);
  Chart chart = chart_of(panel.lines);
  EXPECT_THAT(draw(chart).svg, HasSubstr(">up to 71.50</text>"));
  EXPECT_THAT(draw(chart).svg, HasSubstr("class=\"beyond\""));
  faint.points[40].second = 3;
  chart = chart_of({faint, line_to(2, 0)});
  EXPECT_THAT(draw(chart).svg, Not(HasSubstr("up to")));
}

TEST(Chart, ALogarithmicAxisReachesThem) {
  Line faint = line_to(2, 0, Stroke::faint);
  faint.points[40].second = 71.5;
  EXPECT_EQ(values_to_show({"loss", 320, ValueAxis::log, {faint, line_to(2, 0)}, {}}).second, 71.5);
  faint.points[40].second = 1e20;
  EXPECT_LT(values_to_show({"loss", 320, ValueAxis::log, {faint, line_to(2, 0)}, {}}).second, 5);
}

TEST(Chart, AnAxisOfItsKindIsNamed) {
  Chart chart = chart_of({line_to(2, 0)});
  EXPECT_THAT(draw(chart).svg, HasSubstr(">loss</text>"));
  chart.panels[0].axis = ValueAxis::log;
  EXPECT_THAT(draw(chart).svg, HasSubstr(">loss, log scale</text>"));
}

// A million iterations are not a million points: but the highest of them stays.
TEST(Chart, DrawsNoMorePointsThanItsPixelsShow) {
  Line line{{}, 0, Stroke::strong, true};
  for (int i = 0; i < 300000; ++i) line.points.emplace_back(i, i == 123456 ? 7.0 : 2 + 0.5 * (i % 7));
  const std::string svg = draw(chart_of({line})).svg;
  EXPECT_LT(svg.size(), 100000u);
  Line without = line;
  without.points[123456].second = 2;
  EXPECT_NE(svg, draw(chart_of({without})).svg);
}

TEST(Chart, ColorsAreTheViewersUnlessOneAsks) {
  Chart chart = chart_of({line_to(2, 0)});
  EXPECT_THAT(draw(chart).svg, HasSubstr("@media (prefers-color-scheme:dark)"));
  EXPECT_THAT(draw(chart).svg, HasSubstr(".ground{fill:#ffffff}"));
  chart.theme = Theme::light;
  EXPECT_THAT(draw(chart).svg, Not(HasSubstr("@media")));
  EXPECT_THAT(draw(chart).svg, HasSubstr(".ground{fill:#ffffff}"));
  chart.theme = Theme::dark;
  EXPECT_THAT(draw(chart).svg, Not(HasSubstr("@media")));
  EXPECT_THAT(draw(chart).svg, Not(HasSubstr(".ground{fill:#ffffff}")));
}

TEST(Chart, ManyHuesDifferInColorOrDashes) {
  std::vector<std::string> looks;
  static const std::regex kLine(
      R"re(<g class="(c\d)"><path class="strong" d="[^"]*"( stroke-dasharray="[^"]*")?)re");
  for (size_t hue = 0; hue < kMostHues; ++hue) {
    const std::string svg = draw(chart_of({line_to(2, hue)})).svg;
    std::smatch match;
    ASSERT_TRUE(std::regex_search(svg, match, kLine));
    looks.push_back(match[1].str() + match[2].str());
  }
  std::ranges::sort(looks);
  EXPECT_EQ(std::ranges::adjacent_find(looks), looks.end());
}

TEST(Chart, LongNamesAreCutInTheirMiddle) {
  Chart chart = chart_of({line_to(2, 0)});
  chart.title = "first-" + std::string(300, 'x') + "-last";
  const auto title = words_of_class(draw(chart).svg, "title");
  ASSERT_EQ(title.size(), 1u);
  EXPECT_THAT(title[0].text, testing::StartsWith("first-xxx"));
  EXPECT_THAT(title[0].text, testing::EndsWith("xxx-last"));
  EXPECT_THAT(title[0].text, HasSubstr("…"));
  EXPECT_LT(title[0].text.size(), 110u);
}

TEST(Chart, TextIsXml) {
  Chart chart = chart_of({line_to(2, 0)});
  chart.title = "a<b>&\"c\"\x01 \xEF\xBF\xBF.";
  EXPECT_THAT(draw(chart).svg, HasSubstr(">a&lt;b&gt;&amp;&quot;c&quot;  ?.</text>"));
}

TEST(Chart, AnythingFiniteIsDrawn) {
  for (const ValueAxis axis : {ValueAxis::linear, ValueAxis::linear_from_zero, ValueAxis::log}) {
    for (const double value : {-1e100, -1.0, 0.0, 1e-100, 1.1, 1e100}) {
      for (const int n : {0, 1, 2, 50}) {
        Line line{{}, 0, Stroke::strong, true}, faint{{}, 0, Stroke::faint, false};
        for (int i = 0; i < n; ++i) {
          line.points.emplace_back(i, value);
          faint.points.emplace_back(i, i == 1 ? 1e100 : value);
        }
        Chart chart = chart_of({faint, line});
        chart.panels[0].axis = axis;
        const std::string svg = draw(chart).svg;
        EXPECT_THAT(svg, Not(HasSubstr("nan"))) << value << " " << n;
        EXPECT_THAT(svg, Not(HasSubstr("inf"))) << value << " " << n;
        EXPECT_LT(svg.size(), 30000u);
      }
    }
  }
}

}  // namespace chart_test
}  // namespace lora::cli
