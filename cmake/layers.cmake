# Flags that every target of ours has. The compiler must not change the arithmetic (docs/numerics.md): no contraction
# of a*b+c, no fast-math.
add_library(moesaic_flags INTERFACE)
target_compile_options(moesaic_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -ffp-contract=off -fno-math-errno)

# moesaic_layer(NAME SOURCES file... [LINK target...])
# A static library whose headers are found as "NAME/file.hpp" only by targets that link it: an include that goes up
# the list of docs/architecture.md does not compile.
function(moesaic_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  moesaic_headers(${name} ${CMAKE_CURRENT_SOURCE_DIR}/${name} PUBLIC)
  target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE moesaic_flags)
endfunction()

# One include folder a target, holding nothing but a link to its sources.
function(moesaic_headers target folder scope)
  get_filename_component(base ${folder} NAME)
  set(view ${PROJECT_BINARY_DIR}/include/${target})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${folder} ${view}/${base} SYMBOLIC)
  target_include_directories(${target} ${scope} ${view})
endfunction()
