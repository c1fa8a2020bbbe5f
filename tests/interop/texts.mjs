// Texts of every script and sort, in composed and decomposed form, that tokenizers are compared on.
const accented = [
  "\u00c4pfel \u00fcber f\u00fcnf \u00c5ngstr\u00f6m", "C\u1eeda Vi\u1ec7t Nam, ng\u01b0\u1eddi H\u00e0 N\u1ed9i n\u00f3i ti\u1ebfng Vi\u1ec7t",
  "\u017dlu\u0165ou\u010dk\u00fd k\u016f\u0148 \u00fap\u011bl \u010f\u00e1belsk\u00e9 \u00f3dy", "\u0130stanbul \u0131\u011fd\u0131r",
  "\u1f80 \u1f08\u03b8\u03ae\u03bd\u1fb1 \u1ff7", "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8\ub294 \uac01 \uc74c\uc808",
  "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e \u0915\u093c \u091c\u093c", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05b9\u05dc\u05b8\u05dd",
  "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627 \u0622 \u0623 \u0624", "\u30ac\u30ae\u30b0\u30b2\u30b4 \u30d1\u30d4\u30d7\u30da\u30dd \uff76\uff9e",
  "\u0453 \u045c \u0439 \u0451 \u0457", "\u1ead \u1eab \u1e69 q\u0323\u0307 \u1e61\u0329\u0323", "\u09ac\u09be\u0982\u09b2\u09be \u09cb \u09cc", "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0bca"
];
export const texts = [
  "Hello, world!", " Hello world", "Hello, y'all! How are you \u{1f601} ?", "I've they'LL WE'RE don't 'S 'Re \u017f '\u017f \u212a's",
  "3 33 333 3333 33333 333333 1234567 3.3 1,000,000.50 2024-01-01 12:30:45", "a12 12a  12 \t 345x 6789_ $99.95 10%",
  "  two   three    four     five          ten                                x", "a\n\n b\n\n\n\nc\r\n\td\t\t\r\r\n \n \t\n",
  "int main() {\n\t\tif (x) {\n\t\t\treturn 0;\n    }\n}\n", "!!!!!! ... ==>> // ## /* */ -- __init__ $var @user #tag",
  ...accented.flatMap((text) => [text.normalize("NFC"), text.normalize("NFD"), `${text} ${text.normalize("NFD")}1 x`]),
  "e\u0301\u0301 a\u0323\u0307 a\u0307\u0323 \u0301 first x\u0301\n\u0301y =\u0338", "\u1100\u1161\u11a8 \uac00\u11a8 \u1100\u1100\u1161\u11a8\u11a8",
  "\u212b \u2126 \u212a \u0958 \ufb1d \u0344 \u0340 \u2adc \u{1d15e}", "\u0e44\u0e17\u0e22 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e01\u0e47 \u0e19\u0e49\u0e33",
  "\u1797\u17b6\u179f\u17b6\u1781\u17d2\u1798\u17c2\u179a \u1019\u103c\u1014\u103a\u1019\u102c \u0ea5\u0eb2\u0ea7 \u0f56\u0f7c\u0f51\u0f0b\u0f61\u0f72\u0f42",
  "\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8 \u0540\u0561\u0575\u0565\u0580\u0565\u0576 \u12a0\u121b\u122d\u129b \u182e\u1823\u1829",
  "\u6211\u60f3\u5728apple\u5de5\u4f5c1314151\u5929\uff5e\u3002 \u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3001\u6f22\u5b57 \u3105\u3106", "\u{20000}\u{20001} \u{1d518}\u{1d52b}",
  "\u{1f636}\u200d\u{1f32b}\ufe0f \u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u{1f44d}\u{1f3fd} \u{1f1e9}\u{1f1ea} \u{1f680} (normal)",
  "\u0663\u0664\u0665 \u0967\u0968\u0969 \uff14\uff15\uff16 \u2167 \u00bd \u00b2 \u2460 ied 4 \u00bd months", "w048 7tuijk dsdfhu", "camelCase HTTPServer iPhone XMLHttpRequest's \u0141\u00f3d\u0179",
  "ab\u00a0cd\u2003e\u3000f\u200bg\ufeffh\u2028i\u2029j\u0085k \u180e a\u180eb", "\u0001\u0002\u001b[0m\u007f", "<b>bold</b> <table>\n<tr><td>x</td></tr></table> <h1>",
  "<unused99> [multimodal] <mask> <2mass> [@BOS@]", "https://example.com/a?b=c&d=%20e#f user@mail.org", "\u201cquoted\u201d \u2018single\u2019 \u2014 dash\u2026 \u00abx\u00bb",
  "the man who walked over the hills of the north in the rain", "a \u2581 b", "\ufffd\ufffe\uffff \u{e000}\u{10ffff}", " ", " \n ", "\n a", "a ", "e\u0301",
  "\n".repeat(35) + "z", "A" + "b".repeat(300), "ab".repeat(400), "\u4e2d".repeat(200), "e\u0301".repeat(100), " ".repeat(200) + "x", "1".repeat(100), "!?".repeat(50),
  "aA".repeat(60), "\u0300".repeat(40)
];
