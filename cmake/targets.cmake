# steelyard_library(NAME SOURCES a.c b.c LINK x y): one folder, one library.
# LINK is PUBLIC on purpose: a user of a module's header needs what the header includes.
function(steelyard_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC ${ARG_LINK})
endfunction()

# What is shipped, and what the tests with whole processes start beside it.
add_custom_target(programs)

# steelyard_program(NAME SOURCES main.c LINK x y): lands in build/<preset>/bin/.
function(steelyard_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_LINK})
    add_dependencies(programs ${name})
endfunction()

# steelyard_together(NAME FILE): of the release's program the functions that FILE names, one a line, lie
# together and in that order (docs/decisions/0289). What a compiler makes of one, as in name.part.0, lies
# beside it; one that it has inlined everywhere is not missed.
function(steelyard_together name file)
    if(NOT STEELYARD_FLAVOUR STREQUAL "release" OR NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
        return()
    endif()
    set(script ${CMAKE_CURRENT_BINARY_DIR}/${name}.ld)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} functions REGEX "^[a-z]")
    list(TRANSFORM functions REPLACE "(.+)" "    *(.text.\\1 .text.\\1.*)\n")
    list(JOIN functions "" sections)
    file(CONFIGURE OUTPUT ${script} @ONLY
        CONTENT "SECTIONS {\n  .text.together : {\n@sections@  }\n} INSERT BEFORE .text;\n")
    target_link_options(${name} PRIVATE -Wl,-T,${script})
    set_property(TARGET ${name} APPEND PROPERTY LINK_DEPENDS ${script})
endfunction()

# Those that take longest begin, so that none of them is left at the end with the other cores idle.
# Only an order: a test that is missing here just begins later.
set(STEELYARD_LONG_TESTS test_audit test_charge_bill test_cuts test_intake test_learn_pipeline
    test_lease_store test_look test_misbehaviour test_period_bounds test_planes test_spool
    test_spool_failure test_spool_ring test_snapshot_disk)

# What ctest starts: tests/run builds no more than this of a sanitizer's flavour.
add_custom_target(unit_tests)

# There are three hundred of them, and gold links one in a third of the time. It does not know all that
# the hardened flavours ask of a linker.
find_program(STEELYARD_GOLD ld.gold)
mark_as_advanced(STEELYARD_GOLD)

# steelyard_unit(NAME): what all that ctest starts have in common.
function(steelyard_unit name)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_dependencies(unit_tests ${name})
    if(STEELYARD_GOLD AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND STEELYARD_FLAVOUR MATCHES "^[at]san$")
        target_link_options(${name} PRIVATE -fuse-ld=gold)
    endif()
endfunction()

# steelyard_one_thread(NAME): a thread that this program or a library of it starts is its end, so that
# it may be left out under tsan (docs/decisions/0283).
function(steelyard_one_thread name)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:steelyard_one_thread>)
    target_link_options(${name} PRIVATE -Wl,--export-dynamic-symbol=pthread_create)
endfunction()

# steelyard_test(NAME SOURCES test_x.c LINK x y): a cmocka program and a ctest of the same name.
# THREADS: it starts some, so it is also tested under tsan; one that does not say so cannot.
function(steelyard_test name)
    cmake_parse_arguments(ARG "THREADS" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE steelyard_test_lib PkgConfig::CMOCKA ${ARG_LINK})
    if(NOT ARG_THREADS)
        if(STEELYARD_FLAVOUR STREQUAL "tsan")
            set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
            return()
        endif()
        steelyard_one_thread(${name})
    endif()
    steelyard_unit(${name})
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 900 LABELS unit)
    if(name IN_LIST STEELYARD_LONG_TESTS)
        set_tests_properties(${name} PROPERTIES COST 10)
    endif()
endfunction()

# steelyard_fuzz(NAME SOURCES fuzz_x.c LINK x y): under the fuzz preset a libFuzzer program; under
# every other one a program that runs its committed corpus (tests/fuzz/corpus/NAME) as a ctest; not
# under tsan: a parser has one thread.
function(steelyard_fuzz name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    if(STEELYARD_FLAVOUR STREQUAL "fuzz")
        add_executable(${name} ${ARG_SOURCES})
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    elseif(STEELYARD_FLAVOUR STREQUAL "tsan")
        return()
    else()
        add_executable(${name} ${ARG_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus_main.c)
        steelyard_one_thread(${name})
        steelyard_unit(${name})
        add_test(NAME ${name} COMMAND ${name} ${corpus})
        set_tests_properties(${name} PROPERTIES TIMEOUT 900 LABELS "unit;corpus")
    endif()
    target_link_libraries(${name} PRIVATE ${ARG_LINK})
endfunction()
