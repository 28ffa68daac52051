# moesaic_test(NAME name SOURCES file... LINK target... [RANKS n...] [SHARED pattern] [FULL])
# A GoogleTest program as one ctest entry, or as one a rank count under mpirun (label mpi), oversubscribed. FULL gives the
# label full: launch/test leaves those out, launch/test --full runs them. SHARED names, as GoogleTest's filter does, the cases
# that read ../shared: they are entries of their own (name.shared, label shared), which ctest counts as skipped without it.
function(moesaic_test)
  cmake_parse_arguments(ARG "FULL" "NAME;SHARED" "SOURCES;LINK;RANKS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LINK} test_support GTest::gtest GTest::gmock moesaic_flags)
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/bin)
  target_compile_options(${ARG_NAME} PRIVATE $<$<CONFIG:Release>:-O1>)  # for a short build
  if(ARG_RANKS)
    target_link_libraries(${ARG_NAME} PRIVATE mpi_test_main)
    foreach(ranks ${ARG_RANKS})
      moesaic_test_entries(${ARG_NAME} .${ranks} ${ranks} "${ARG_SHARED}" "${ARG_FULL}"
        ${PROJECT_SOURCE_DIR}/tests/with_env mpirun -n ${ranks} $<TARGET_FILE:${ARG_NAME}>)
    endforeach()
  else()
    target_link_libraries(${ARG_NAME} PRIVATE GTest::gtest_main)
    moesaic_test_entries(${ARG_NAME} "" 1 "${ARG_SHARED}" "${ARG_FULL}" ${ARG_NAME})
  endif()
endfunction()

function(moesaic_test_entries name suffix ranks shared full)  # and the command
  add_test(NAME ${name}${suffix} COMMAND ${ARGN})
  moesaic_test_properties(${name}${suffix} ${ranks} "${full}")
  if(shared)
    set_property(TEST ${name}${suffix} APPEND PROPERTY ENVIRONMENT "GTEST_FILTER=-${shared}")
    add_test(NAME ${name}.shared${suffix} COMMAND ${ARGN})
    moesaic_test_properties(${name}.shared${suffix} ${ranks} "${full}")
    set_property(TEST ${name}.shared${suffix} APPEND PROPERTY ENVIRONMENT "GTEST_FILTER=${shared}")
    set_property(TEST ${name}.shared${suffix} APPEND PROPERTY LABELS shared)
    set_tests_properties(${name}.shared${suffix} PROPERTIES
      SKIP_REGULAR_EXPRESSION "in \\.\\./shared, which is not there")
  endif()
endfunction()

function(moesaic_test_properties test ranks full)
  set(labels)
  set(timeout 600)
  if(ranks GREATER 1)
    list(APPEND labels mpi)
  endif()
  if(full)
    list(APPEND labels full)
    set(timeout 1800)
  endif()
  set_tests_properties(${test} PROPERTIES LABELS "${labels}" PROCESSORS ${ranks} TIMEOUT ${timeout}
    ENVIRONMENT "OMP_NUM_THREADS=1")
endfunction()
