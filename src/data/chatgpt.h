// Conversations as ChatGPT exports them (conversations.json): a tree of messages, since each may be asked or
// answered anew.
//
//   {"title": ..., "current_node": ID, "mapping": {ID: NODE, ...}}
//   NODE: {"message": null or {"author": {"role"}, "content": {"content_type", "parts"}, ...}, "parent": ID}
//
// What is read is the branch that is shown: from current_node back to the root.
#pragma once

#include "data/record_fields.h"

namespace lora {

struct Record;

// Adds the branch to the record's conversation; what is left out of it goes to the record's ignored fields.
// Throws Error "mapping.ID: WHY" for what cannot be trained on: pictures, files, calls of tools and what they
// gave back.
void read_chatgpt(Fields& fields, Record& record);

}  // namespace lora
