# Runs the native tests that were built, through CTest; called by Maven in its test phase. Nothing to do where only the libraries were built.
#
#   cmake [-DTARGETS=all|libraries] [-DSKIP=true] -P native/test.cmake
set(build ${CMAKE_CURRENT_LIST_DIR}/target/build)
if(SKIP STREQUAL "true" OR TARGETS STREQUAL libraries)
  return()
endif()
get_filename_component(bin ${CMAKE_COMMAND} DIRECTORY)
execute_process(COMMAND ${bin}/ctest --test-dir ${build} --output-on-failure --parallel 2 --timeout 900 RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "native tests failed: their output stands above")
endif()
