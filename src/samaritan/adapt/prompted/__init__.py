"""Teaching by prompts: pictures with objects, crops of them, and simulated people who ask for one."""
