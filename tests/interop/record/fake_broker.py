"""A broker of one node that answers just well enough for clients to go through their motions, and writes down what
they sent and what they accepted. Its messages are kafka-python's, not ours: that is the point.

Needs kafka-python >= 3.0 (protocol classes made from Kafka's own definitions)."""
import importlib
import os
import pkgutil
import socket
import struct
import sys
import threading
import time
import uuid

import kafka.protocol
from kafka.protocol.api_message import ApiMessage

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
sys.path.insert(0, os.path.join(ROOT, "proto/kafka"))
sys.dont_write_bytecode = True
import generate  # noqa: E402

TOPIC = "golden"
TOPIC_ID = uuid.UUID("6b3f0c52-7c1d-4d5e-9a51-0123456789ab")


def message_classes():
    """(api key, is a request) -> kafka-python's class."""
    found = {}
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        if ".old" in module.name or "generate" in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, ApiMessage) and getattr(value, "_json", None):
                found[value.API_KEY, value.is_request()] = value
    return found


def fill(data_class, values):
    """A message of nested dicts and lists."""
    out = {}
    for name, field in data_class._struct.fields.items():
        if name in values:
            value = values[name]
            if value is not None and field.is_struct_array():
                value = [fill(field.data_class, v) for v in value]
            elif value is not None and field.is_struct():
                value = fill(field.data_class, value)
            out[name] = value
    return data_class(**out)


class Broker:
    """@profile: "new" advertises what cairnd does, "old" nothing flexible, "first" the first flexible versions."""

    def __init__(self, profile, record):
        self.classes, self.record = message_classes(), record
        self.apis = {}
        folder = os.path.join(ROOT, "proto/kafka/schema")
        for name in sorted(os.listdir(folder)):
            schema = generate.Schema(os.path.join(folder, name))
            if len(schema.messages) == 2:
                low, high = schema.versions
                flexible = schema.flexible[0] if schema.flexible[1] else high + 1
                high = {"new": high, "old": max(low, min(high, flexible - 1)),
                        "first": max(low, min(high, flexible))}[profile]
                self.apis[schema.messages[0].key] = (schema, low, high)
        self.log = {0: [], 1: []}
        self.offsets, self.generation, self.topics = {}, 0, {TOPIC: 2}
        self.members, self.assignments = {}, {}
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.socket.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            while True:
                head = stream.read(4)
                if len(head) < 4:
                    return
                frame = stream.read(struct.unpack(">i", head)[0])
                try:
                    answer = self.answer(frame)
                    if answer is not None:
                        connection.sendall(answer)
                except OSError:
                    return
                except Exception as e:  # a hole in this broker, not in the client
                    print("fake broker: key %d version %d: %r" % (struct.unpack(">hh", frame[:4]) + (e,)))
                    return

    def answer(self, frame):
        key, version, correlation = struct.unpack(">hhi", frame[:8])
        schema, low, high = self.apis[key]
        fallback = key == 18 and not low <= version <= high
        if fallback:
            version, request = 0, None
        else:
            request = self.classes[key, True].decode(frame, version=version, header=True)
            self.record(schema, version, "request", frame)
        values = getattr(self, "on_" + schema.name)(request, version)
        if values is None:
            return None
        if fallback:
            values["error_code"] = 35
        response = fill(self.classes[key, False], values)
        response.API_VERSION = version
        response.with_header(correlation_id=correlation)
        answer = response.encode(header=True, framed=True)
        self.record(schema, version, "response", bytes(answer[4:]))
        return answer

    # Each on_<api> gives the response as nested dicts; fields that the version lacks are left out by kafka-python.

    def on_api_versions(self, request, version):
        return {"api_keys": [{"api_key": k, "min_version": low, "max_version": high}
                             for k, (_, low, high) in sorted(self.apis.items())]}

    def on_metadata(self, request, version):
        names = list(self.topics) if not request.topics else [t.name or TOPIC for t in request.topics]
        if request.topics == [] and version > 0:
            names = []
        return {"brokers": [{"node_id": 1, "host": "127.0.0.1", "port": self.port}], "cluster_id": "golden-cluster",
                "controller_id": 1, "topics": [self.topic(n) for n in names]}

    def topic(self, name):
        if name not in self.topics:
            return {"error_code": 3, "name": name, "topic_id": uuid.UUID(int=0), "partitions": []}
        return {"error_code": 0, "name": name, "topic_id": self.topic_id(name), "is_internal": False, "partitions": [
            {"error_code": 0, "partition_index": p, "leader_id": 1, "leader_epoch": 5, "replica_nodes": [1],
             "isr_nodes": [1], "offline_replicas": []} for p in range(self.topics[name])]}

    @staticmethod
    def topic_id(name):
        return TOPIC_ID if name == TOPIC else uuid.uuid5(TOPIC_ID, name)

    def on_init_producer_id(self, request, version):
        return {"error_code": 0, "producer_id": 4000, "producer_epoch": 0}

    def on_produce(self, request, version):
        responses = []
        for topic in request.topic_data:
            partitions = []
            for p in topic.partition_data:
                records = bytes(p.records)
                with self.lock:
                    log = self.log[p.index]
                    base = log[-1][1] if log else 0
                    end = base + struct.unpack(">i", records[23:27])[0] + 1
                    log.append((base, end, struct.pack(">q", base) + records[8:]))
                partitions.append({"index": p.index, "error_code": 0, "base_offset": base, "log_append_time_ms": -1,
                                   "log_start_offset": 0, "record_errors": []})
            responses.append({"name": topic.name, "partition_responses": partitions})
        return {"responses": responses} if request.acks != 0 else None

    def on_fetch(self, request, version):
        responses, found, deadline = [], False, time.monotonic() + min(request.max_wait_ms, 300) / 1000
        while not found and time.monotonic() < deadline:
            found = any(b[1] > p.fetch_offset for t in request.topics for p in t.partitions
                        for b in self.log[p.partition])
            time.sleep(0.01)
        for topic in request.topics:
            partitions = []
            for p in topic.partitions:
                log = self.log[p.partition]
                end = log[-1][1] if log else 0
                partitions.append({"partition_index": p.partition, "error_code": 0, "high_watermark": end,
                                   "last_stable_offset": end, "log_start_offset": 0, "aborted_transactions": [],
                                   "preferred_read_replica": -1,
                                   "records": b"".join(b[2] for b in log if b[1] > p.fetch_offset)})
            name = {"topic_id": topic.topic_id} if version >= 13 else {"topic": topic.topic}
            responses.append({**name, "partitions": partitions})
        return {"error_code": 0, "session_id": 0, "responses": responses}

    def on_list_offsets(self, request, version):
        topics = []
        for topic in request.topics:
            topics.append({"name": topic.name, "partitions": [
                {"partition_index": p.partition_index, "error_code": 0, "timestamp": -1, "leader_epoch": 5,
                 "offset": self.log[p.partition_index][-1][1] if p.timestamp == -1 and self.log[p.partition_index] else 0}
                for p in topic.partitions]})
        return {"topics": topics}

    def on_find_coordinator(self, request, version):
        node = {"node_id": 1, "host": "127.0.0.1", "port": self.port, "error_code": 0, "error_message": None}
        if version >= 4:
            return {"coordinators": [{"key": k, **node} for k in request.coordinator_keys]}
        return node

    def on_join_group(self, request, version):
        member = request.member_id
        if not member:
            member = "member-%d" % (len(self.members) + 1)
            self.members[member] = request
            if version >= 4:
                return {"error_code": 79, "generation_id": -1, "protocol_name": "", "leader": "", "member_id": member,
                        "members": []}
        self.generation += 1
        return {"error_code": 0, "generation_id": self.generation, "protocol_type": request.protocol_type,
                "protocol_name": request.protocols[0].name, "leader": member, "member_id": member, "members": [
                    {"member_id": member, "group_instance_id": None, "metadata": request.protocols[0].metadata}]}

    def on_sync_group(self, request, version):
        for a in request.assignments:
            self.assignments[a.member_id] = a.assignment
        out = {"error_code": 0, "assignment": self.assignments.get(request.member_id, b"")}
        if version >= 5:
            out.update(protocol_type=request.protocol_type, protocol_name=request.protocol_name)
        return out

    def on_heartbeat(self, request, version):
        return {"error_code": 0}

    def on_leave_group(self, request, version):
        return {"error_code": 0, "members": [{"member_id": m.member_id, "group_instance_id": m.group_instance_id,
                                              "error_code": 0} for m in (request.members if version >= 3 else [])]}

    def on_offset_commit(self, request, version):
        for t in request.topics:
            for p in t.partitions:
                self.offsets[t.name, p.partition_index] = (p.committed_offset, p.committed_metadata)
        return {"topics": [{"name": t.name, "partitions": [{"partition_index": p.partition_index, "error_code": 0}
                                                          for p in t.partitions]} for t in request.topics]}

    def fetched(self, topics):
        if topics is None:
            names = sorted({t for t, _ in self.offsets})
            wanted = [(n, sorted(p for t, p in self.offsets if t == n)) for n in names]
        else:
            wanted = [(t.name, t.partition_indexes) for t in topics]
        return [{"name": n, "partitions": [
            {"partition_index": p, "committed_offset": self.offsets.get((n, p), (-1, ""))[0],
             "committed_leader_epoch": -1, "metadata": self.offsets.get((n, p), (-1, ""))[1], "error_code": 0}
            for p in ps]} for n, ps in wanted]

    def on_offset_fetch(self, request, version):
        if version >= 8:
            return {"groups": [{"group_id": g.group_id, "topics": self.fetched(g.topics), "error_code": 0}
                               for g in request.groups]}
        return {"topics": self.fetched(request.topics), "error_code": 0}

    def on_offset_delete(self, request, version):
        return {"error_code": 0, "topics": [{"name": t.name, "partitions": [
            {"partition_index": p.partition_index, "error_code": 0} for p in t.partitions]} for t in request.topics]}

    def on_describe_groups(self, request, version):
        return {"groups": [{"error_code": 0, "group_id": g, "group_state": "Empty", "protocol_type": "consumer",
                            "protocol_data": "", "members": []} for g in request.groups]}

    def on_list_groups(self, request, version):
        return {"error_code": 0, "groups": [{"group_id": "readers", "protocol_type": "consumer",
                                             "group_state": "Empty", "group_type": "classic"}]}

    def on_delete_groups(self, request, version):
        return {"results": [{"group_id": g, "error_code": 0} for g in request.groups_names]}

    def on_create_topics(self, request, version):
        topics = []
        for t in request.topics:
            exists = t.name in self.topics
            if not request.validate_only:
                self.topics.setdefault(t.name, max(1, t.num_partitions))
            topics.append({"name": t.name, "topic_id": self.topic_id(t.name), "error_code": 36 if exists else 0,
                           "error_message": "it exists" if exists else None, "num_partitions": 1,
                           "replication_factor": 1, "configs": [
                               {"name": "retention.ms", "value": "1000", "read_only": False, "config_source": 1,
                                "is_sensitive": False}]})
        return {"topics": topics}

    def on_delete_topics(self, request, version):
        names = [t.name for t in request.topics] if version >= 6 else request.topic_names
        return {"responses": [{"name": n, "topic_id": self.topic_id(n), "error_code": 0} for n in names]}

    def on_create_partitions(self, request, version):
        return {"results": [{"name": t.name, "error_code": 0, "error_message": None} for t in request.topics]}

    def on_delete_records(self, request, version):
        return {"topics": [{"name": t.name, "partitions": [
            {"partition_index": p.partition_index, "low_watermark": 1, "error_code": 0} for p in t.partitions]}
            for t in request.topics]}

    def on_offset_for_leader_epoch(self, request, version):
        return {"topics": [{"topic": t.topic, "partitions": [
            {"error_code": 0, "partition": p.partition, "leader_epoch": 5, "end_offset": 3} for p in t.partitions]}
            for t in request.topics]}

    def on_describe_configs(self, request, version):
        return {"results": [{"error_code": 0, "error_message": None, "resource_type": r.resource_type,
                             "resource_name": r.resource_name, "configs": [
                                 {"name": "retention.ms", "value": "1000", "read_only": False, "config_source": 1,
                                  "is_sensitive": False, "config_type": 5, "documentation": "how long", "synonyms": [
                                      {"name": "log.retention.ms", "value": "2000", "source": 5}]},
                                 {"name": "password", "value": None, "read_only": True, "config_source": 5,
                                  "is_sensitive": True, "config_type": 9, "documentation": None, "synonyms": []}]}
                            for r in request.resources]}

    def on_alter_configs(self, request, version):
        return {"responses": [{"error_code": 0, "error_message": None, "resource_type": r.resource_type,
                               "resource_name": r.resource_name} for r in request.resources]}

    on_incremental_alter_configs = on_alter_configs

    def on_describe_cluster(self, request, version):
        return {"error_code": 0, "error_message": None, "endpoint_type": 1, "cluster_id": "golden-cluster",
                "controller_id": 1, "brokers": [{"broker_id": 1, "host": "127.0.0.1", "port": self.port, "rack": "r"}]}

    def on_describe_log_dirs(self, request, version):
        return {"error_code": 0, "results": [{"error_code": 0, "log_dir": "/data", "topics": [
            {"name": TOPIC, "partitions": [{"partition_index": 0, "partition_size": 77, "offset_lag": 0,
                                            "is_future_key": False}]}], "total_bytes": 1000, "usable_bytes": 900}]}

    def on_describe_producers(self, request, version):
        return {"topics": []}

    def on_elect_leaders(self, request, version):
        return {"error_code": 0, "replica_election_results": [{"topic": t.topic, "partition_result": [
            {"partition_id": p, "error_code": 84, "error_message": "not needed"} for p in t.partitions]}
            for t in request.topic_partitions or []]}

    def on_alter_partition_reassignments(self, request, version):
        return {"error_code": 0, "error_message": None, "responses": [{"name": t.name, "partitions": [
            {"partition_index": p.partition_index, "error_code": 0, "error_message": None} for p in t.partitions]}
            for t in request.topics]}

    def on_list_partition_reassignments(self, request, version):
        return {"error_code": 0, "error_message": None, "topics": [{"name": TOPIC, "partitions": [
            {"partition_index": 0, "replicas": [1, 2], "adding_replicas": [2], "removing_replicas": []}]}]}

    def on_sasl_handshake(self, request, version):
        return {"error_code": 0, "mechanisms": ["PLAIN"]}

    def on_sasl_authenticate(self, request, version):
        return {"error_code": 0, "error_message": None, "auth_bytes": b"", "session_lifetime_ms": 0}
