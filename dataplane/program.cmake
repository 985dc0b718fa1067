steelyard_library(steelyard_node
    SOURCES conn.c conn_message.c conn_time.c conn_write.c control_targets.c node.c node_metrics.c
            node_stop.c settings.c trim.c worker.c
    LINK steelyard_budget steelyard_request steelyard_link)
steelyard_program(steelyard-dataplane SOURCES main.c LINK steelyard_node)
steelyard_together(steelyard-dataplane ${CMAKE_CURRENT_SOURCE_DIR}/request.order)
