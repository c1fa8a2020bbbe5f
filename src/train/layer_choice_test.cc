#include "train/layer_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace lora {
namespace layer_choice_test {

using testing::ElementsAre;

std::vector<int64_t> layers_of(const std::string& text, int64_t n_layer = 6) {
  const LayerChoice choice = parse_layers(text);
  EXPECT_EQ(to_text(choice), text);
  return chosen_layers(choice, n_layer);
}

TEST(LayerChoice, IsAllTheLastOrAList) {
  EXPECT_THAT(layers_of("all"), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(layers_of("2"), ElementsAre(4, 5));
  EXPECT_THAT(layers_of("6"), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(layers_of("3-3"), ElementsAre(3));
  EXPECT_THAT(layers_of("5,0,1-3"), ElementsAre(0, 1, 2, 3, 5));
  EXPECT_THAT(layers_of("0-2,1-3"), ElementsAre(0, 1, 2, 3));
}

TEST(LayerChoice, IsNamedInTheShortestWay) {
  EXPECT_EQ(layers_text(layers_of("5,0,1-3")), "0-3,5");
  EXPECT_EQ(layers_text(layers_of("2")), "4-5");
  EXPECT_EQ(layers_text(layers_of("3-3")), "3-3");  // 3 would be the last three
  EXPECT_EQ(layers_text({}), "none");
}

TEST(LayerChoice, RefusesWhatIsNoneAndBlocksThatAreNotThere) {
  for (const char* text : {"", "0", "-1", "x", "last_3", "1,", ",1", "1-", "3-1", "1--2", "1,x", "1.5", "2 ",
                           "99999999999999999999", "0-9999999"}) {
    EXPECT_THROW(parse_layers(text), Error) << text;
  }
  const auto why = [](const char* text) -> std::string {
    try {
      chosen_layers(parse_layers(text), 6);
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_EQ(why("7"), "--layers: 7 are more than the 6 blocks of the model");
  EXPECT_EQ(why("0,4-6"), "--layers: there is no block 6, the model has 0 to 5");
}

}  // namespace layer_choice_test
}  // namespace lora
