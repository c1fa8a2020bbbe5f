#include "cli/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace lora::cli {

namespace {

constexpr double kWidth = 960, kHeight = 600;
constexpr double kLeft = 78, kRight = 24, kTop = 64, kBottom = 52, kGap = 46;
constexpr double kLegendRow = 20;

// Okabe and Ito's palette, which color-blind people tell apart, without its yellow; then again from the
// start.
constexpr std::array<const char*, 7> kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                "#56b4e9", "#e69f00", "#444444"};

const char* color_of(size_t number) {
  return kColors[number % kColors.size()];
}

std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == '<') {
      result += "&lt;";
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '"') {
      result += "&quot;";
    } else {
      result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return result;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Never empty, so that one can divide by its width.
  void widen() {
    if (!(low <= high)) *this = {0, 1};
    // What differs by rounding alone is one value: ticks between would be, too.
    const double most = std::max(std::abs(low), std::abs(high));
    if (high - low <= 1e-9 * most || low == high) {
      const double by = most == 0 ? 1 : most / 10;
      low -= by;
      high += by;
    }
  }
};

// 1500 as "1.5k", 3000000 as "3M"; small ones with the digits that tell ticks apart.
std::string tick_text(double value, double distance) {
  if (std::abs(value) < distance / 1000) return "0";
  const double magnitude = std::abs(value);
  if (magnitude >= 1e6) return fmt::format("{:.6g}M", value / 1e6);
  if (magnitude >= 1e4) return fmt::format("{:.6g}k", value / 1e3);
  if (magnitude < 1e-3) return fmt::format("{:.3g}", value);
  return fmt::format("{:.{}f}", value, std::max(0, int(std::ceil(-std::log10(distance) - 1e-9))));
}

// Raw losses have a few points far above the rest, which would press the curves together: the axis
// ends where 98 of 100 faint points lie, or where the strong ones do.
Range vertical_range(const Panel& panel) {
  Range range;
  std::vector<double> faint;
  for (const Line& line : panel.lines) {
    for (const auto& [x, y] : line.points) {
      if (line.style == Line::Style::faint) {
        faint.push_back(y);
      } else {
        range.add(y);
      }
    }
  }
  if (!faint.empty()) {
    std::ranges::sort(faint);
    range.add(faint[faint.size() / 100]);
    range.add(faint[faint.size() - 1 - faint.size() / 50]);
  }
  if (panel.from_zero) range.add(0);
  range.widen();
  const double margin = 0.05 * (range.high - range.low);
  range.high += margin;
  if (!panel.from_zero) range.low -= margin;
  return range;
}

std::string path_of(const Line& line, const char* color) {
  using enum Line::Style;
  return line.style == strong ? fmt::format(R"(stroke="{}" stroke-width="2")", color)
         : line.style == faint
             ? fmt::format(R"(stroke="{}" stroke-width="1" stroke-opacity="0.4")", color)
             : fmt::format(R"(stroke="{}" stroke-width="1.5" stroke-dasharray="5 4")", color);
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart) {
    for (const Panel& panel : chart.panels) {
      for (const Line& line : panel.lines) {
        for (const auto& [x, y] : line.points) x_.add(x);
      }
    }
    x_.widen();
  }

  std::string svg() {
    const double top_of_panels = kTop + kLegendRow * double(legend());
    double shares = 0;
    for (const Panel& panel : chart_.panels) shares += panel.share;
    const double room = kHeight - kTop - kBottom - kGap * double(chart_.panels.size() - 1);
    double top = top_of_panels;
    for (size_t i = 0; i < chart_.panels.size(); ++i) {
      const double height = room * chart_.panels[i].share / shares;
      panel(chart_.panels[i], i, top, height, i + 1 == chart_.panels.size());
      top += height + kGap;
    }
    return fmt::format(
        R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" )"
        R"(font-family="sans-serif" font-size="13" fill="#222">)"
        "\n"
        R"(<rect width="100%" height="100%" fill="#fff"/>)"
        "\n{2}</svg>\n",
        kWidth, kHeight + top_of_panels - kTop, out_);
  }

 private:
  double x_at(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }

  void text(double x, double y, std::string_view anchor, std::string_view what, std::string_view more = "") {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}{}>{}</text>\n", x, y, anchor,
                        more.empty() ? "" : " ", more, escaped(what));
  }

  // Names of the colors, then samples of the styles. Widths are guessed from the number of letters. Returns
  // how many rows of names there are beyond the first.
  int legend() {
    double x = kLeft, y = 22;
    int n_more = 0;
    for (const auto& [name, color] : chart_.names) {
      const double width = 38 + 7.6 * double(name.size());
      if (x > kLeft && x + width > kWidth - kRight) {
        x = kLeft;
        y += kLegendRow;
        ++n_more;
      }
      out_ +=
          fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{}\"/>\n",
                      x, y - 10, color_of(color));
      text(x + 18, y, "start", name);
      x += width;
    }
    x = kWidth - kRight;
    y += kTop - 36;
    for (auto style = chart_.styles.rbegin(); style != chart_.styles.rend(); ++style) {
      text(x, y, "end", style->first, "fill=\"#666\"");
      x -= 12 + 7.8 * double(style->first.size());
      const Line line{{}, 0, style->second};
      out_ += fmt::format("<path d=\"M{:.1f} {:.1f}h26\" {} fill=\"none\"/>\n", x - 26, y - 4,
                          path_of(line, "#666"));
      if (line.style == Line::Style::dots) dot(x - 13, y - 4, "#666");
      x -= 48;
    }
    return n_more;
  }

  void dot(double x, double y, const char* color) {
    out_ += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"#fff\" stroke=\"{}\" stroke-width=\"1.8\"/>\n",
        x, y, color);
  }

  static std::vector<double> ticks(double first, double step, double high) {
    std::vector<double> values;
    for (int i = 0; i < 100 && first + i * step <= high + step / 1e6; ++i) values.push_back(first + i * step);
    return values;
  }

  void panel(const Panel& p, size_t number, double top, double height, bool is_last) {
    const Range y = vertical_range(p);
    const double bottom = top + height, right = kWidth - kRight;
    const auto y_at = [&](double value) { return bottom - (value - y.low) / (y.high - y.low) * height; };
    text(kLeft, top - 14, "start", p.title, "font-weight=\"bold\"");
    const auto [first_y, step_y] = round_ticks(y.low, y.high, std::max(2, int(height / 55)));
    for (const double value : ticks(first_y, step_y, y.high)) {
      out_ +=
          fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"#e4e4e4\"/>\n", kLeft, y_at(value), right);
      text(kLeft - 8, y_at(value) + 4.5, "end", tick_text(value, step_y), "fill=\"#666\"");
    }
    const auto [first_x, step_x] = round_ticks(x_.low, x_.high, 9);
    for (const double value : ticks(first_x, step_x, x_.high)) {
      out_ += fmt::format("<path d=\"M{:.1f} {:.1f}v5\" stroke=\"#888\"/>\n", x_at(value), bottom);
      if (is_last) text(x_at(value), bottom + 20, "middle", tick_text(value, step_x), "fill=\"#666\"");
    }
    out_ += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"#888\"/>\n", kLeft, bottom, right);
    if (is_last) text((kLeft + right) / 2, bottom + 41, "middle", chart_.x_title);
    out_ += fmt::format(
        "<clipPath id=\"panel{}\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
        "height=\"{:.1f}\"/></clipPath>\n"
        "<g clip-path=\"url(#panel{})\" fill=\"none\" stroke-linejoin=\"round\">\n",
        number, kLeft - 5, top - 5, right - kLeft + 10, height + 5, number);
    // What is faint lies below what is not.
    for (const bool faint : {true, false}) {
      for (const Line& line : p.lines) {
        if ((line.style == Line::Style::faint) == faint) draw(line, y_at);
      }
    }
    out_ += "</g>\n";
  }

  template <class YAt>
  void draw(const Line& line, const YAt& y_at) {
    if (line.points.empty()) return;
    std::string d;
    for (const auto& [x, y] : line.points)
      d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", x_at(x), y_at(y));
    out_ += fmt::format("<path d=\"{}\" {}/>\n", d, path_of(line, color_of(line.color)));
    const bool alone = line.points.size() == 1;
    if (line.style != Line::Style::dots && !alone) return;
    for (const auto& [x, y] : line.points) dot(x_at(x), y_at(y), color_of(line.color));
  }

  const Chart& chart_;
  Range x_;
  std::string out_;
};

}  // namespace

std::pair<double, double> round_ticks(double low, double high, int n) {
  const double rough = (high - low) / n;
  const double unit = std::pow(10, std::floor(std::log10(rough)));
  double distance = 10 * unit;
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * unit >= rough * 0.999) {
      distance = factor * unit;
      break;
    }
  }
  return {std::ceil(low / distance - 1e-9) * distance, distance};
}

std::string to_svg(const Chart& chart) {
  return Drawing(chart).svg();
}

}  // namespace lora::cli
