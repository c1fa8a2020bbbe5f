#include "cli/ticks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lora::cli {
namespace ticks_test {

using testing::ElementsAre;

std::vector<std::string> texts_of(const std::vector<Tick>& all) {
  std::vector<std::string> texts;
  for (const Tick& tick : all) {
    if (!tick.text.empty()) texts.push_back(tick.text);
  }
  return texts;
}

TEST(Ticks, AreRoundAndAtMostAsManyAsAsked) {
  EXPECT_THAT(texts_of(ticks({2.31, 3.52}, 7)), ElementsAre("2.4", "2.6", "2.8", "3.0", "3.2", "3.4"));
  EXPECT_THAT(texts_of(ticks({0, 400}, 9)),
              ElementsAre("0", "50", "100", "150", "200", "250", "300", "350", "400"));
  EXPECT_THAT(texts_of(ticks({-0.3, 0.3}, 3)), ElementsAre("-0.2", "0", "0.2"));
  EXPECT_THAT(texts_of(ticks({0, 3.1e-4}, 4)), ElementsAre("0", "0.0001", "0.0002", "0.0003"));
}

TEST(Ticks, OfSmallNumbersHaveAnExponent) {
  EXPECT_THAT(texts_of(ticks({0, 3.1e-5}, 4)), ElementsAre("0", "1e-5", "2e-5", "3e-5"));
}

TEST(Ticks, HaveOneUnit) {
  EXPECT_THAT(texts_of(ticks({0, 20000}, 4)), ElementsAre("0", "5k", "10k", "15k", "20k"));
  EXPECT_THAT(texts_of(ticks({0, 9999}, 4)), ElementsAre("0", "5000"));
  EXPECT_THAT(texts_of(ticks({0, 2.5e6}, 5)), ElementsAre("0", "0.5M", "1.0M", "1.5M", "2.0M", "2.5M"));
  EXPECT_THAT(texts_of(ticks({0, 2e100}, 2)), ElementsAre("0", "1e100", "2e100"));
}

TEST(Ticks, MinorOnesDivideTheMajor) {
  const auto all = ticks({0, 4}, 4);
  ASSERT_EQ(all.size(), 21u);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_NEAR(all[i].value, 0.2 * double(i), 1e-12);
    EXPECT_EQ(all[i].text.empty(), i % 5 != 0) << i;
  }
}

TEST(Ticks, OfACountLieOnWholeNumbers) {
  for (const double high : {1.0, 3.0, 7.0, 12.0, 45.0, 1000.0}) {
    for (const Tick& tick : ticks({0, high}, 9, true)) EXPECT_EQ(tick.value, std::round(tick.value)) << high;
  }
  EXPECT_THAT(texts_of(ticks({0, 1}, 9, true)), ElementsAre("0", "1"));
}

TEST(Ticks, OfALogarithmicAxis) {
  EXPECT_THAT(texts_of(ticks({0.05, 60, true}, 5)), ElementsAre("0.1", "1", "10"));
  EXPECT_THAT(texts_of(ticks({0.3, 12, true}, 8)), ElementsAre("0.5", "1", "2", "5", "10"));
  EXPECT_THAT(texts_of(ticks({2.1, 3.3, true}, 6)), ElementsAre("2.2", "2.4", "2.6", "2.8", "3.0", "3.2"));
  const auto wide = ticks({1e-20, 1e100, true}, 6);
  EXPECT_LE(wide.size(), 200u);
  EXPECT_LE(texts_of(wide).size(), 7u);
  EXPECT_GE(texts_of(wide).size(), 3u);
  const auto minor = ticks({1, 100, true}, 3);
  EXPECT_EQ(minor.size(), 19u);
  EXPECT_EQ(minor[1].value, 2);
  EXPECT_EQ(minor[1].text, "");
}

TEST(Ticks, AreFewForAnyRange) {
  for (const double span : {1e-90, 1e-9, 1.0, 1e9, 2e100}) {
    for (const double low : {-1e100, -1.0, 0.0, 3.0}) {
      if (low + span <= low) continue;
      for (const int n : {1, 2, 9}) {
        EXPECT_LE(texts_of(ticks({low, low + span}, n)).size(), size_t(n) + 2) << low << " " << span;
      }
    }
  }
}

TEST(Scale, SharesOfAnAxis) {
  EXPECT_EQ((Scale{2, 4}.share(3)), 0.5);
  EXPECT_DOUBLE_EQ((Scale{1, 100, true}.share(10)), 0.5);
}

TEST(NumberText, HasFourDigits) {
  for (const auto& [value, text] : {std::pair{2.4512, "2.451"},
                                    {2.45, "2.450"},
                                    {0.40381, "0.4038"},
                                    {9.9999, "10.00"},
                                    {12.345, "12.35"},
                                    {999.96, "1000"},
                                    {9999.0, "9999"},
                                    {12345.0, "12.35k"},
                                    {1.2e6, "1.200M"},
                                    {0.05, "0.05"},
                                    {0.00287, "0.00287"},
                                    {3e-5, "3e-5"},
                                    {-1e100, "-1e100"},
                                    {0.0, "0"}})
    EXPECT_EQ(number_text(value), text);
}

}  // namespace ticks_test
}  // namespace lora::cli
