/* The whole of libcairn: include this, or just the parts needed. */
#ifndef CAIRN_H
#define CAIRN_H

#include <cairn/admin.h>
#include <cairn/client.h>
#include <cairn/consumer.h>
#include <cairn/error.h>
#include <cairn/group.h>
#include <cairn/group_admin.h>
#include <cairn/options.h>
#include <cairn/producer.h>

#endif
