# `make install`: the program, liblora.a with its public header, and the CMake package that gives
# another project `find_package(lora)` and the target lora::lora.
include(CMakePackageConfigHelpers)

# One archive of all modules below cli, so that a user links one thing.
get_property(modules GLOBAL PROPERTY LORA_MODULES)
list(REMOVE_ITEM modules lora_cli)
set(objects)
foreach(module ${modules})
  list(APPEND objects $<TARGET_OBJECTS:${module}>)
endforeach()
add_library(lora_merged STATIC ${objects})
set_target_properties(lora_merged PROPERTIES OUTPUT_NAME lora EXPORT_NAME lora LINKER_LANGUAGE CXX)
target_include_directories(lora_merged INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(lora_merged INTERFACE cxx_std_20)
# What the objects call and a program that links the archive needs; lora-config.cmake finds the same.
target_link_libraries(lora_merged PRIVATE fmt::fmt Threads::Threads PkgConfig::hwy PkgConfig::pcre2 PkgConfig::libzip
  PkgConfig::utf8proc)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lora)
configure_package_config_file(cmake/lora-config.cmake.in ${PROJECT_BINARY_DIR}/lora-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lora-config-version.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS lora_merged EXPORT lora-targets ARCHIVE)
install(EXPORT lora-targets NAMESPACE lora:: DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/lora-config.cmake ${PROJECT_BINARY_DIR}/lora-config-version.cmake
  DESTINATION ${package_dir})
install(FILES src/api/lora.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lora)
install(FILES LICENSE README.md CHANGELOG.md TYPE DOC)
install(DIRECTORY docs/ TYPE DOC)
