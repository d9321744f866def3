//! The controllers and the kubelet: pods are replaced one by one, and each reads what is there when it starts.

use immutable_core::workload::Kind;
use immutable_core::workload::rollout::{CAUSE, Progress, Replacing, STAMP};

use crate::cluster::Cluster;
use crate::objects::{BAD, Pod, Revision, Workload};

impl Cluster {
    /// One step of every controller; tells whether anything happened.
    pub(crate) fn reconcile_all(&mut self) -> bool {
        let names: Vec<String> = self.workloads.keys().cloned().collect();
        let happened: Vec<bool> = names.iter().map(|name| self.reconcile(name)).collect();
        happened.contains(&true)
    }

    /// One step of one controller.
    pub(crate) fn reconcile(&mut self, name: &str) -> bool {
        let Some(mut workload) = self.workloads.get(name).cloned() else { return false };
        let before = (workload.progress(self.now), workload.observed, workload.current);
        let mut happened = self.revert(&workload);
        if happened {
            return true;
        }
        self.observe(&mut workload);
        happened |= self.start_pods(&mut workload);
        happened |= self.move_pods(&mut workload);
        // What goes on stays the newest revision's.
        let annotations = workload.annotations.clone();
        workload.revisions[workload.current].annotations = annotations;
        let is_news = before != (workload.progress(self.now), workload.observed, workload.current);
        self.workloads.insert(name.to_owned(), workload);
        if happened || is_news {
            self.emit(name);
        }
        happened || is_news
    }

    /// A tool that puts back what stands in its repository.
    fn revert(&mut self, workload: &Workload) -> bool {
        if workload.reverting == 0 || !workload.template.annotations.contains_key(STAMP) {
            return false;
        }
        self.update(&workload.name, "argocd", |workload| {
            workload.reverting -= 1;
            workload.template.annotations.remove(STAMP);
            workload.template.annotations.remove(CAUSE);
        });
        true
    }

    fn observe(&mut self, workload: &mut Workload) {
        if workload.observed == workload.generation || workload.paused && workload.kind == Kind::Deployment {
            workload.observed = workload.generation;
            return;
        }
        workload.observed = workload.generation;
        if workload.revisions[workload.current].template == workload.template {
            return;
        }
        let known = workload.revisions.iter().position(|revision| revision.template == workload.template);
        workload.current = known.unwrap_or_else(|| {
            let (template, annotations) = (workload.template.clone(), workload.annotations.clone());
            workload.revisions.push(Revision { template, annotations });
            workload.revisions.len() - 1
        });
        workload.progressed = self.now;
    }

    fn start_pods(&mut self, workload: &mut Workload) -> bool {
        let mut happened = false;
        let mut started = Vec::new();
        for pod in &mut workload.pods {
            if pod.read.is_none() {
                pod.read = self.read(&pod.references);
                happened |= pod.read.is_some();
            } else if !pod.available {
                let is_bad = pod.read.iter().flatten().flatten().any(|data| data.values().any(|value| *value == BAD));
                if !is_bad {
                    pod.available = true;
                    workload.progressed = self.now;
                    started.push(pod.clone());
                    happened = true;
                }
            }
        }
        for pod in started {
            self.emit_pod(workload, &pod, true);
        }
        happened
    }

    fn move_pods(&mut self, workload: &mut Workload) -> bool {
        let kept = match workload.replacing {
            Replacing::Partition(kept) => usize::try_from(kept).unwrap(),
            _ => 0,
        };
        let current = workload.current;
        if workload.pods.len() < workload.replicas {
            let ordinal = (0..=workload.pods.len())
                .find(|ordinal| workload.pods.iter().all(|pod| pod.ordinal != *ordinal))
                .unwrap();
            let revision = if ordinal < kept { 0 } else { current };
            self.add_pod(workload, ordinal, revision);
            return true;
        }
        let is_old = |pod: &Pod| pod.revision != current && pod.ordinal >= kept;
        let is_stopped = workload.paused || workload.replacing == Replacing::OnDelete;
        let surge = usize::from(workload.kind == Kind::Deployment && !is_stopped && workload.pods.iter().any(is_old));
        if workload.pods.len() > workload.replicas + surge {
            let last = workload.pods.iter().max_by_key(|pod| (!pod.available, is_old(pod), pod.ordinal)).unwrap();
            let name = last.name.clone();
            self.remove_pod(workload, &name);
            return true;
        }
        if is_stopped {
            return false;
        }
        let Some(oldest) =
            workload.pods.iter().filter(|pod| is_old(pod)).min_by_key(|pod| (pod.available, pod.created))
        else {
            return false;
        };
        let is_ready = workload.pods.iter().all(|pod| pod.available || is_old(pod));
        let name = oldest.name.clone();
        if !oldest.available {
            self.remove_pod(workload, &name);
        } else if !is_ready {
            return false;
        } else if workload.pods.len() < workload.replicas + surge {
            let ordinal = (0..=workload.pods.len())
                .find(|ordinal| workload.pods.iter().all(|pod| pod.ordinal != *ordinal))
                .unwrap();
            self.add_pod(workload, ordinal, current);
        } else {
            self.remove_pod(workload, &name);
        }
        true
    }

    fn add_pod(&mut self, workload: &mut Workload, ordinal: usize, revision: usize) {
        self.version += 1;
        let references = workload.revisions[revision].template.references.clone();
        let pod = Pod {
            name: format!("{}-{ordinal}-{}", workload.uid, self.version),
            ordinal,
            revision,
            created: self.now,
            read: self.read(&references),
            references,
            available: false,
        };
        self.emit_pod(workload, &pod, true);
        workload.pods.push(pod);
    }

    fn remove_pod(&mut self, workload: &mut Workload, name: &str) {
        let at = workload.pods.iter().position(|pod| pod.name == name).unwrap();
        let pod = workload.pods.remove(at);
        self.emit_pod(workload, &pod, false);
    }

    /// A pod is evicted: its controller makes another one.
    pub(crate) fn evict(&mut self, name: &str, pod: usize) {
        let Some(mut workload) = self.workloads.get(name).cloned() else { return };
        if workload.pods.is_empty() {
            return;
        }
        let name_of_pod = workload.pods[pod % workload.pods.len()].name.clone();
        self.remove_pod(&mut workload, &name_of_pod);
        self.workloads.insert(name.to_owned(), workload);
        self.emit(name);
    }

    /// Everything that controllers do without anybody's help.
    pub(crate) fn run_controllers(&mut self) {
        for _ in 0..200 {
            if !self.reconcile_all() {
                return;
            }
            self.now += 1000;
        }
    }

    /// Tells of deadlines that have passed; tells whether there was one.
    pub(crate) fn tell_overdue(&mut self) -> bool {
        let failed = |workload: &&Workload| {
            let progress = workload.progress(self.now);
            progress == Progress::Failed && workload.told != Some(progress)
        };
        let names: Vec<String> = self.workloads.values().filter(failed).map(|workload| workload.name.clone()).collect();
        for name in &names {
            self.emit(name);
        }
        !names.is_empty()
    }

    /// When the next deadline passes.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        let waits = |workload: &&Workload| {
            workload.kind == Kind::Deployment && workload.progress(self.now) == Progress::UnderWay && !workload.paused
        };
        let under_way = self.workloads.values().filter(waits);
        under_way.map(|workload| workload.progressed + crate::objects::DEADLINE * 1000).min()
    }
}
