#include "cli/picture_png.h"

#include "base/error.h"

#ifdef LORA_RSVG
#include <librsvg/rsvg.h>

#include <cmath>

#include "base/shared_library.h"
#endif

namespace lora::cli {

#ifdef LORA_RSVG

namespace {

// librsvg and what it is built on are fifty libraries: loaded when a picture wants them, not when the program
// starts. What they are built on is found through librsvg's own handle.
struct Rsvg {
  SharedLibrary library{"librsvg-2.so.2"};
#define LORA_FUNCTION(name) decltype(::name)* name = library.function<decltype(::name)>(#name)
  LORA_FUNCTION(rsvg_handle_new_from_data);
  LORA_FUNCTION(rsvg_handle_render_document);
  LORA_FUNCTION(cairo_image_surface_create);
  LORA_FUNCTION(cairo_create);
  LORA_FUNCTION(cairo_scale);
  LORA_FUNCTION(cairo_surface_write_to_png_stream);
  LORA_FUNCTION(cairo_status_to_string);
  LORA_FUNCTION(cairo_destroy);
  LORA_FUNCTION(cairo_surface_destroy);
  LORA_FUNCTION(g_object_unref);
  LORA_FUNCTION(g_error_free);
#undef LORA_FUNCTION
};

cairo_status_t append(void* png, const unsigned char* data, unsigned int size) {
  static_cast<std::string*>(png)->append(reinterpret_cast<const char*>(data), size);
  return CAIRO_STATUS_SUCCESS;
}

}  // namespace

std::string why_no_png() {
  try {
    const Rsvg rsvg;
    return "";
  } catch (const Error& e) {
    return fmt::format("{}: install librsvg (Debian and Ubuntu: librsvg2-2)", e.what());
  }
}

std::string to_png(const std::string& svg, double width, double height, double scale) {
  const Rsvg rsvg;
  GError* error = nullptr;
  RsvgHandle* const picture =
      rsvg.rsvg_handle_new_from_data(reinterpret_cast<const guint8*>(svg.data()), svg.size(), &error);
  cairo_surface_t* const surface = rsvg.cairo_image_surface_create(
      CAIRO_FORMAT_RGB24, int(std::ceil(width * scale)), int(std::ceil(height * scale)));
  cairo_t* const canvas = rsvg.cairo_create(surface);
  rsvg.cairo_scale(canvas, scale, scale);
  const RsvgRectangle whole = {0, 0, width, height};
  std::string png, problem;
  if (picture && rsvg.rsvg_handle_render_document(picture, canvas, &whole, &error)) {
    const cairo_status_t status = rsvg.cairo_surface_write_to_png_stream(surface, append, &png);
    if (status != CAIRO_STATUS_SUCCESS) problem = rsvg.cairo_status_to_string(status);
  } else {
    problem = error ? error->message : "no reason given";
  }
  if (error) rsvg.g_error_free(error);
  rsvg.cairo_destroy(canvas);
  rsvg.cairo_surface_destroy(surface);
  if (picture) rsvg.g_object_unref(picture);
  if (!problem.empty()) fail("librsvg cannot draw the picture: {}", problem);
  return png;
}

#else

std::string why_no_png() {
  return "this program was built without librsvg: install it (scripts/install-deps.sh png) and build again";
}

std::string to_png(const std::string&, double, double, double) {
  fail("{}", why_no_png());
}

#endif

}  // namespace lora::cli
