#include "data/character_card.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "data/data_test_util.h"
#include "data/png_test_util.h"

namespace lora {
namespace character_card_test {

using nlohmann::json;
using test::chunk;
using test::kPngSignature;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CharacterCard card_of(std::string_view bytes) {
  return parse_character_card(test::as_bytes(bytes), "card");
}
std::string why_not(std::string_view bytes) {
  return test::error_of([&] { card_of(bytes); });
}

const json kFields = {{"name", "Bo"},
                      {"description", " {{char}} is a dog.\r\n"},
                      {"personality", "loyal"},
                      {"scenario", ""},
                      {"first_mes", "Woof"},
                      {"mes_example", "<START>\n{{user}}: Sit!\n{{char}}: Woof.\n<start>\n{{char}}: Grr."}};

std::string v2(json data, const std::string& spec = "chara_card_v2") {
  return json{{"spec", spec}, {"spec_version", "2.0"}, {"data", std::move(data)}}.dump();
}

std::string message_of(const CharacterCard& card, LeftMacros& left) {
  return card_system_message(card, {{"user", "Ann"}, {"char", card.name}}, left);
}
std::string message_of(const CharacterCard& card) {
  LeftMacros left;
  return message_of(card, left);
}

constexpr std::string_view kMessage =
    "Bo is a dog.\nBo's personality: loyal\n***\nAnn: Sit!\nBo: Woof.\n***\nBo: Grr.";

TEST(CharacterCard, TheSystemMessageIsTheDefaultStoryString) {
  for (const std::string& text : {kFields.dump(), v2(kFields), v2(kFields, "chara_card_v3")}) {
    const CharacterCard card = card_of(text);
    EXPECT_EQ(card.name, "Bo");
    EXPECT_EQ(message_of(card), kMessage);
    EXPECT_THAT(card.used, ElementsAre("description", "personality", "mes_example"));
    EXPECT_THAT(card.unused, IsEmpty());
  }
  json all = kFields;
  all["system_prompt"] = "You are {{char}}. {{original}}";
  all["scenario"] = "A garden of {{user}}'s.";
  const CharacterCard card = card_of(v2(all));
  EXPECT_EQ(message_of(card),
            "You are Bo.\nBo is a dog.\nBo's personality: loyal\nScenario: A garden of Ann's.\n"
            "***\nAnn: Sit!\nBo: Woof.\n***\nBo: Grr.");
  EXPECT_THAT(card.unused, ElementsAre(HasSubstr("{{original}}")));
}

TEST(CharacterCard, PygmalionsNamesAreRead) {
  const CharacterCard card = card_of(R"({"char_name":"Bo","char_persona":"a dog","char_greeting":"Woof",
      "world_scenario":"a garden","example_dialogue":"Bo: Grr."})");
  EXPECT_EQ(message_of(card), "a dog\nScenario: a garden\n***\nBo: Grr.");
  EXPECT_THAT(card.unused, IsEmpty());
}

TEST(CharacterCard, FilledFieldsThatDoNotGoInAreListed) {
  json more = kFields;
  more.update({{"post_history_instructions", "Be brief."},
               {"alternate_greetings", {"Yap"}},
               {"group_only_greetings", json::array()},
               {"creator_notes", "Mine."},
               {"tags", {"dog"}},
               {"nickname", "Bobo"},
               {"character_book", {{"name", "Dogs"}, {"entries", {{{"keys", {"bone"}}}}}}},
               {"extensions",
                {{"talkativeness", "0.5"},
                 {"fav", true},
                 {"world", "Dogs"},
                 {"depth_prompt", {{"depth", 4}, {"prompt", ""}}},
                 {"regex_scripts", {{{"find", "a"}}}}}}});
  EXPECT_THAT(card_of(v2(more)).unused,
              ElementsAre("alternate_greetings", "character_book (1 entry)", "extensions.regex_scripts",
                          "extensions.world", "nickname", "post_history_instructions"));
  more["character_book"] = {{"entries", json::array()}};
  more["extensions"] = {{"depth_prompt", {{"prompt", "Bark."}}}};
  EXPECT_THAT(card_of(v2(more)).unused, ElementsAre("alternate_greetings", "extensions.depth_prompt",
                                                    "nickname", "post_history_instructions"));
}

TEST(CharacterCard, MacrosOfTheCardItselfAreFilledIn) {
  json fields = kFields;
  fields["scenario"] = "{{description}} {{mesExamples}} {{foo}}";
  fields["mes_example"] = "{{Personality}}!";
  const CharacterCard card = card_of(fields.dump());
  LeftMacros left;
  EXPECT_THAT(message_of(card, left), HasSubstr("Scenario: Bo is a dog. loyal! {{foo}}\n"));
  EXPECT_THAT(left.counts, ElementsAre(testing::Pair("foo", 1)));
  MacroValues values = {{"char", "Bo"}};
  add_card_values(card, values);
  EXPECT_EQ(values["description"], "Bo is a dog.");
  EXPECT_EQ(values.count("charprompt"), 0u);
}

TEST(CharacterCard, FieldThatStandsInItselfIsRefused) {
  json fields = kFields;
  fields["description"] = "Bo is {{description}}";
  EXPECT_THAT(why_not(fields.dump()),
              HasSubstr("card: description: {{description}} stands for what it stands in"));
  fields["description"] = "Bo is {{scenario}}";
  fields["scenario"] = "{{DESCRIPTION}}";
  EXPECT_THAT(why_not(fields.dump()), HasSubstr("scenario: {{description}} stands for what it stands in"));
}

TEST(CharacterCard, WhatNobodyCanKnowIsRefused) {
  json fields = kFields;
  fields["description"] = "Likes {{random:bones,sticks}}.";
  EXPECT_THAT(why_not(fields.dump()),
              HasSubstr("card: description: {{random}} stands for what SillyTavern alone"));
  fields["description"] = "{{user}} {{unknown}}";
  EXPECT_EQ(why_not(fields.dump()), "");
}

TEST(CharacterCard, WhatIsNoCardIsRefused) {
  EXPECT_EQ(why_not("{}"), "card: no character card: it has no name");
  EXPECT_EQ(why_not(R"({"name":"Bo"})"),
            "card: nothing of it would go into the system message: its fields are empty");
  EXPECT_EQ(why_not(R"({"name":5})"), "card: name: expected a text, found number");
  EXPECT_EQ(why_not(v2(kFields, "chara_card_v9")),
            "card: spec: expected chara_card_v2 or chara_card_v3, found \"chara_card_v9\"");
  EXPECT_EQ(why_not(R"({"spec":"chara_card_v2"})"), "card: data: missing");
  EXPECT_EQ(why_not("{"), "card: no valid JSON in UTF-8");
  EXPECT_EQ(why_not("{\"a\":" + std::string(100, '[')), "card: nests more than 64 levels deep");
  EXPECT_EQ(why_not("hello"), "card: no character card: neither JSON nor a PNG that holds it");
  EXPECT_THAT(why_not("GGUF...."), HasSubstr("card: not a character card: it is a GGUF file"));
  EXPECT_THAT(why_not("PK\x03\x04..."), HasSubstr("unpack it and take its card.json"));
  EXPECT_THAT(why_not(""), HasSubstr("card: not a character card: it is empty"));
}

std::string png(const std::vector<std::string>& chunks) {
  std::string bytes(kPngSignature);
  bytes += chunk("IHDR", std::string(13, '\0'));
  for (const std::string& c : chunks) bytes += c;
  return bytes + chunk("IEND", "");
}
std::string text_chunk(const std::string& keyword, const std::string& text) {
  return chunk("tEXt", keyword + '\0' + text);
}

TEST(CharacterCard, APngHoldsItAsBase64) {
  const std::string card = test::base64(v2(kFields));
  json other = kFields;
  other["name"] = "Cy";
  const std::string other_card = test::base64(other.dump());
  EXPECT_EQ(message_of(card_of(png({text_chunk("chara", card)}))), kMessage);
  EXPECT_EQ(card_of(png({text_chunk("Comment", "x"), text_chunk("Chara", card)})).name, "Bo");
  // The newer text is taken, wherever it stands; of two the first.
  EXPECT_EQ(card_of(png({text_chunk("chara", card), text_chunk("ccv3", other_card)})).name, "Cy");
  EXPECT_EQ(card_of(png({text_chunk("chara", card), text_chunk("chara", other_card)})).name, "Bo");
  const auto itxt = [&](char flag) {
    return chunk("iTXt", std::string("chara\0", 6) + flag + std::string("\0\0\0", 3) + card);
  };
  EXPECT_EQ(card_of(png({itxt('\0')})).name, "Bo");
  EXPECT_THAT(why_not(png({itxt('\1')})), HasSubstr("its text chara is compressed"));
  EXPECT_THAT(why_not(png({chunk("zTXt", std::string("chara\0\0x", 8))})),
              HasSubstr("its text chara is compressed"));
  EXPECT_EQ(card_of(png({itxt('\1'), text_chunk("chara", card)})).name, "Bo");
  EXPECT_EQ(why_not(png({text_chunk("chara", "!!!")})), "card: its text is no base64");
  EXPECT_EQ(why_not(png({text_chunk("title", card)})), "card: a picture without a text ccv3 or chara");
}

TEST(CharacterCard, ADamagedPngIsRefusedWhereverItIsCut) {
  const std::string whole = png({text_chunk("chara", test::base64(v2(kFields)))});
  for (size_t n = 8; n < whole.size(); ++n) {
    EXPECT_THAT(why_not(whole.substr(0, n)), HasSubstr("card: a PNG that is cut short: a chunk needs ")) << n;
  }
  for (size_t at = 8; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = char(damaged[at] ^ 0x10);
    EXPECT_THAT(why_not(damaged), testing::AnyOf(HasSubstr("damaged: the checksum"), HasSubstr("cut short")))
        << at;
  }
  EXPECT_EQ(card_of(whole + "behind the end").name, "Bo");
}

TEST(Base64, IsDecodedOrRefused) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("TWE="), "Ma");
  EXPECT_EQ(decode_base64("TQ"), "M");
  EXPECT_EQ(decode_base64("T W\nFu\n"), "Man");
  EXPECT_EQ(decode_base64("-_8="), "\xfb\xff");
  EXPECT_EQ(decode_base64("T"), std::nullopt);
  EXPECT_EQ(decode_base64("TW=u"), std::nullopt);
  EXPECT_EQ(decode_base64("TW*u"), std::nullopt);
}

}  // namespace character_card_test
}  // namespace lora
